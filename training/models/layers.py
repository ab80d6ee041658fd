"""What the backbones share."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from training.config import ModelConfig

FEATURES = ("user_id", "item_id", "domain_id")
INITIAL_SCALE = 0.05


class Embeddings(nn.Module):
    """One vector for each of user, item and domain; learned, or frozen where `vectors` has them.

    Attributes:
        tables: {parameter name: feature}. dims: {feature: the width of its vectors}.
    """

    def __init__(self, dim: int, sizes: Mapping[str, int], vectors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.dims = {name: vectors[name].shape[1] if name in vectors else dim for name in FEATURES}
        self.tables = {f"{name}.weight": name for name in FEATURES}
        for name in FEATURES:
            table = nn.Embedding(sizes[name], self.dims[name])
            if name in vectors:
                table.weight = nn.Parameter(vectors[name], requires_grad=False)
            else:
                nn.init.normal_(table.weight, std=INITIAL_SCALE)
            self.add_module(name, table)

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.get_submodule(name)(features[name]) for name in FEATURES}


def hidden_layers(width: int, config: ModelConfig) -> tuple[nn.Sequential, int]:
    """Linear, ReLU and dropout for each of `config.hidden`; returns them and the last width."""
    layers: list[nn.Module] = []
    for size in config.hidden:
        layers += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(config.dropout)]
        width = size
    return nn.Sequential(*layers), width


def prefixed(prefix: str, tables: Mapping[str, str]) -> dict[str, str]:
    """The `tables` of a submodule, named as the module that holds it under `prefix` names them."""
    return {f"{prefix}.{name}": feature for name, feature in tables.items()}


def concatenate(vectors: Mapping[str, Tensor], order: Sequence[str] = FEATURES) -> Tensor:
    return torch.cat([vectors[name] for name in order], dim=-1)
