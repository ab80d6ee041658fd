"""Backbones: modules that map named features to logits, by name.

A backbone is built as `Backbone(ModelConfig, sizes, vectors)` and called with a dict of features, each int64 of shape
(rows,); it returns logits of shape (rows,). Its attribute `tables` maps the name of each parameter that is looked
up by a feature to that feature. A new backbone is one file here and one line in MODELS.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from training.config import ModelConfig
from training.errors import UserError
from training.models.deepfm import DeepFM
from training.models.mlp import MLP

MODELS = {"mlp": MLP, "deepfm": DeepFM}


def build_model(
    config: ModelConfig, sizes: Mapping[str, int], seed: int, vectors: Mapping[str, Tensor] | None = None
) -> nn.Module:
    """Builds the backbone that `config` names.

    Args:
        sizes: the number of ids by feature: user_id, item_id, domain_id.
        seed: decides the initial values.
        vectors: frozen tables by feature, float, shape (size, dim), instead of learned embeddings.

    Raises:
        UserError: there is no such backbone.
    """
    if config.name not in MODELS:
        raise UserError(f'model.name "{config.name}" does not exist: choose one of {", ".join(MODELS)}')
    torch.manual_seed(seed)
    return MODELS[config.name](config, sizes, vectors or {})
