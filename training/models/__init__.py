"""Backbones: modules that map named features to logits, by name.

A backbone is built as `Backbone(ModelConfig, Schema, vectors)` and called with a dict of features: ids int64 of shape
(rows,), dense features float (rows,), lists int64 (rows, length) with NAME_length (rows,). It returns logits of shape
(rows,). Its attribute `tables` maps the name of each parameter or buffer that is looked up by ids to their vocabulary
(the feature whose ids they are: user_id, item_id, domain_id, ...). A new backbone is one file here and one line in
MODELS; a module outside is named by its import path.
"""

import pkgutil
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from training.column_names import LENGTH
from training.config import ModelConfig
from training.data.schema import Schema
from training.errors import UserError
from training.parameters.embedding_model import embedding_model

MODELS = {  # by name: the import path of the class
    "mlp": "training.models.mlp:MLP",
    "deepfm": "training.models.deepfm:DeepFM",
    "wdl": "training.models.wdl:WideDeep",
    "nfm": "training.models.nfm:NeurFM",
    "autoint": "training.models.autoint:AutoInt",
    "shared_bottom": "training.models.shared_bottom:SharedBottom",
    "mmoe": "training.models.mmoe:MMoE",
    "cgc": "training.models.cgc:CGC",
    "ple": "training.models.ple:PLE",
    "star": "training.models.star:STAR",
}


def build_model(
    config: ModelConfig, schema: Schema, seed: int, vectors: Mapping[str, Tensor] | None = None
) -> nn.Module:
    """Builds the backbone that `config` names, or a module of the user's own, and makes sure that it can be trained.

    Args:
        schema: the features that it is called with.
        seed: decides the initial values.
        vectors: frozen tables by vocabulary, float, shape (size, dim), instead of learned embeddings.

    Raises:
        UserError: there is no such backbone; the module has no parameters, no logit a row, or names tables that it
            does not have.
    """
    model = make_model(config, schema, seed, vectors)
    _check(model, config.name, schema)
    return model


def make_model(
    config: ModelConfig, schema: Schema, seed: int, vectors: Mapping[str, Tensor] | None = None
) -> nn.Module:
    """The same, without a look at whether it can be trained: for a model that was."""
    torch.manual_seed(seed)
    model = _find(config.name)(config, schema, vectors or {})
    described = embedding_model(model)
    described.vocabularies = schema.vocabularies
    described.tables = getattr(model, "tables", {})
    return model


def _find(name: str) -> type[nn.Module]:
    try:
        return pkgutil.resolve_name(MODELS.get(name, name))
    except (ValueError, ImportError, AttributeError) as error:
        raise UserError(
            f'model.name "{name}" does not exist: choose one of {", ".join(MODELS)}, or the import path of a module '
            f"of your own, as my_package.my_file:MyModel ({error})"
        ) from None


def _check(model: nn.Module, name: str, schema: Schema) -> None:
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError(f"model {name} has no parameters to train: give its layers to it as attributes")
    state = model.state_dict()
    for table, vocabulary in embedding_model(model).tables.items():
        size = schema.sizes.get(vocabulary)
        shape = state[table].shape if table in state else ()
        if len(shape) != 2 or shape[0] != size:
            raise UserError(
                f'model {name}: tables names "{table}" with ids of "{vocabulary}", which must be a parameter of two '
                f"dimensions with a row for each of {size} ids: it has {', '.join(state)}"
            )
    shape = tuple(_logits_of_two_rows(model, schema).shape)
    if shape != (2,):
        raise UserError(f"model {name} returns shape {shape} for two rows: it must return one logit a row, shape (2,)")


@torch.no_grad()
def _logits_of_two_rows(model: nn.Module, schema: Schema) -> Tensor:
    like = next(model.parameters())
    features = {}
    for feature in schema.features:
        shape = (2, feature.length) if feature.length else (2,)
        dtype = like.dtype if feature.vocabulary is None else torch.int64
        features[feature.name] = torch.zeros(shape, dtype=dtype, device=like.device)
        if feature.length:
            features[LENGTH.format(feature.name)] = torch.ones(2, dtype=torch.int64, device=like.device)
    was_training = model.training
    logits = model.eval()(features)
    model.train(was_training)
    return logits
