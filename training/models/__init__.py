"""Builds backbones by name: modules that map named features to logits.

A backbone is built as `Backbone(ModelConfig, Schema, vectors)` and called with a dict of features. Ids are int64 of
shape (rows,), dense features are float (rows,), lists are int64 (rows, length) with NAME_length (rows,). It returns
logits of shape (rows,). Its attribute `tables` maps the name of each parameter or buffer that is looked up by ids to
the vocabulary of these ids: user_id, item_id, domain_id, or another feature with ids.

To add a backbone, add one file here and one line to MODELS. Modules outside this folder are named by their import path.
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
    """Builds the backbone or the user's module that `config` names, and checks that it can be trained.

    Args:
        config: its name and sizes.
        schema: the features that it is called with.
        seed: decides the initial values.
        vectors: frozen tables that replace learned embeddings, by vocabulary, float, shape (size, dim).

    Raises:
        UserError: there is no such backbone. Or the module has no parameters, does not return one logit a row, or
            names tables that it does not have.
    """
    model = make_model(config, schema, seed, vectors)
    _check(model, config.name, schema)
    return model


def make_model(
    config: ModelConfig, schema: Schema, seed: int, vectors: Mapping[str, Tensor] | None = None
) -> nn.Module:
    """Builds a backbone like `build_model`, without the checks: for the parameters of a trained model."""
    torch.manual_seed(seed)
    model = _find_class(config.name)(config, schema, vectors or {})
    described = embedding_model(model)
    described.vocabularies = schema.vocabularies
    described.tables = getattr(model, "tables", {})
    return model


def _find_class(name: str) -> type[nn.Module]:
    """Returns the class of a backbone by its name in MODELS or by its import path."""
    try:
        return pkgutil.resolve_name(MODELS.get(name, name))
    except (ValueError, ImportError, AttributeError) as error:
        raise UserError(
            f'model.name "{name}" does not exist: choose one of {", ".join(MODELS)}, or the import path of your own '
            f"module, such as my_package.my_file:MyModel ({error})"
        ) from None


def _check(model: nn.Module, name: str, schema: Schema) -> None:
    """Raises UserError unless the model can be trained."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError(f"model {name} has no parameters to train: assign its layers to attributes of the module")
    state = model.state_dict()
    for table, vocabulary in embedding_model(model).tables.items():
        size = schema.sizes.get(vocabulary)
        table_shape: tuple[int, ...] = tuple(state[table].shape) if table in state else ()
        if len(table_shape) != 2 or table_shape[0] != size:
            raise UserError(
                f'model {name}: its attribute tables names "{table}" with ids of "{vocabulary}", which must be a '
                f"two-dimensional parameter with a row for each of {size} ids; the parameters are {', '.join(state)}"
            )
    shape = tuple(_logits_of_two_rows(model, schema).shape)
    if shape != (2,):
        raise UserError(f"model {name} returns shape {shape} for two rows, but must return one logit a row, shape (2,)")


@torch.no_grad()
def _logits_of_two_rows(model: nn.Module, schema: Schema) -> Tensor:
    """Calls the model with two rows of zeros."""
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
