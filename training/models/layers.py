"""Provides the layers that backbones share: embeddings of features, and hidden layers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from training.column_names import LENGTH
from training.config import ModelConfig
from training.data.schema import Feature, Schema
from training.models.dropout import Dropout

ATTENTION_HIDDEN = 36


class Embeddings(nn.Module):
    """Computes a vector for each feature, in the order of the schema.

    | kind         | vector                                                                      |
    |--------------|-----------------------------------------------------------------------------|
    | id, category | the row of its vocabulary's table                                           |
    | dense        | the number times a learned vector (AutoInt, equation 4)                     |
    | list         | the mean of its values' rows; zero for an empty list                        |
    | sequence     | as for a list, or the sum weighted by attention to the sample's item (DIN)  |

    Tables in `vectors` are frozen and have a width of their own; all others are learned. For models that need vectors
    of one width, `same_width` maps them linearly to model.embedding_dim.

    Attributes:
        tables: the vocabulary of each table, by parameter name.
        dims: the width of the vector of each feature.
    """

    def __init__(
        self,
        config: ModelConfig,
        schema: Schema,
        vectors: Mapping[str, Tensor],
        same_width: bool = False,
    ) -> None:
        super().__init__()
        dim = config.embedding_dim
        self.features = schema.features
        widths = {name: vectors[name].shape[1] if name in vectors else dim for name in schema.sizes}
        self.tables = {f"{vocabulary}.weight": vocabulary for vocabulary in widths}
        for vocabulary, size in schema.sizes.items():
            table = nn.Embedding(size, widths[vocabulary])
            if vocabulary in vectors:
                table.weight = nn.Parameter(vectors[vocabulary], requires_grad=False)
            else:
                nn.init.normal_(table.weight, std=config.embedding_scale)
            self.add_module(vocabulary, table)
        dense = [feature.name for feature in self.features if feature.kind == "dense"]
        self.directions = nn.ParameterDict({name: torch.randn(dim) * config.embedding_scale for name in dense})
        self.dims = {
            feature.name: dim if feature.vocabulary is None else widths[feature.vocabulary] for feature in self.features
        }
        self.attention = nn.ModuleDict(
            {
                feature.name: Attention(self.dims[feature.name])
                for feature in self.features
                if feature.kind == "sequence" and config.pooling == "attention"
            }
        )
        self.to_width = nn.ModuleDict()
        if same_width:
            self.to_width.update(
                {name: nn.Linear(width, dim, bias=False) for name, width in self.dims.items() if width != dim}
            )
            self.dims = dict.fromkeys(self.dims, dim)

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the vector of each feature, shape (rows, width)."""
        vectors = {feature.name: self._vector(feature, features) for feature in self.features}
        return {
            name: self.to_width[name](vector) if name in self.to_width else vector for name, vector in vectors.items()
        }

    def _vector(self, feature: Feature, features: Mapping[str, Tensor]) -> Tensor:
        """Returns the vector of one feature, before it is mapped to the common width."""
        value = features[feature.name]
        if feature.vocabulary is None:
            return value.unsqueeze(-1) * self.directions[feature.name]
        rows = self.get_submodule(feature.vocabulary)(value)
        if not feature.length:
            return rows
        length = features[LENGTH.format(feature.name)].unsqueeze(-1)
        is_value = (torch.arange(feature.length, device=length.device) < length).unsqueeze(-1).to(rows.dtype)
        if feature.name in self.attention:
            item = self.get_submodule(feature.vocabulary)(features[feature.vocabulary])
            return (rows * is_value * self.attention[feature.name](rows, item)).sum(-2)
        return (rows * is_value).sum(-2) / length.clamp(min=1)


def first_order_weights(config: ModelConfig, schema: Schema) -> Embeddings:
    """Returns a weight for each value of a feature, as vectors of width 1."""
    return Embeddings(replace(config, embedding_dim=1, pooling="mean"), schema, {})


class Attention(nn.Module):
    """Weights past items by their relevance for an item (DIN's activation unit, Zhou et al., KDD 2018, section 4.3).

    The weight is an MLP of both vectors, their difference and their product. As in the paper, the weights are not
    normalised, so that a strong interest stays strong.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(4 * dim, ATTENTION_HIDDEN), nn.ReLU(), nn.Linear(ATTENTION_HIDDEN, 1))

    def forward(self, past: Tensor, item: Tensor) -> Tensor:
        """Returns the weights, shape (rows, length, 1), of `past` (rows, length, dim) for `item` (rows, dim)."""
        item = item.unsqueeze(-2).expand_as(past)
        return self.score(torch.cat([past, item, past - item, past * item], dim=-1))


def hidden_layers(
    width: int, sizes: Sequence[int], dropout: float, linear: Callable[[int, int], nn.Module] = nn.Linear
) -> tuple[nn.Sequential, int]:
    """Returns a linear layer, ReLU and dropout for each of `sizes`, and the width of the last layer."""
    layers: list[nn.Module] = []
    for size in sizes:
        layers += [linear(width, size), nn.ReLU(), Dropout(dropout)]
        width = size
    return nn.Sequential(*layers), width


def prefixed(prefix: str, tables: Mapping[str, str]) -> dict[str, str]:
    """Returns the `tables` of a submodule under the names that they have in its parent, where it is called `prefix`.

    >>> prefixed("embeddings", {"user_id.weight": "user_id"})
    {'embeddings.user_id.weight': 'user_id'}
    """
    return {f"{prefix}.{name}": vocabulary for name, vocabulary in tables.items()}


def concatenate(vectors: Mapping[str, Tensor]) -> Tensor:
    """Concatenates the vectors of all features, shape (rows, sum of their widths)."""
    return torch.cat(list(vectors.values()), dim=-1)


def pair_products(vectors: Mapping[str, Tensor]) -> Tensor:
    """Computes sum_{f<g} v_f * v_g by element, shape (rows, dim), of vectors of one width."""
    stacked = torch.stack(list(vectors.values()), dim=-2)
    return 0.5 * (stacked.sum(-2).square() - stacked.square().sum(-2))


def mix(experts: Tensor, scores: Tensor) -> Tensor:
    """Sums experts (rows, experts, width), weighted by the softmax of scores (rows, experts)."""
    return (experts * scores.softmax(-1).unsqueeze(-1)).sum(-2)
