"""DeepFM (Guo et al., IJCAI 2017): a factorisation machine and an MLP on the same embeddings."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from training.config import ModelConfig
from training.models.layers import FEATURES, Embeddings, concatenate, hidden_layers, prefixed


class DeepFM(nn.Module):
    """logit = b + sum_f w_f + sum_{f<g} <v_f, v_g> + MLP([v_user; v_item; v_domain]) (equations 1 to 4).

    The second-order term needs vectors of one width: a frozen vector of another is mapped to it linearly.
    """

    def __init__(self, config: ModelConfig, sizes: Mapping[str, int], vectors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.embeddings = Embeddings(config.embedding_dim, sizes, vectors)
        self.linear = Embeddings(1, sizes, {})
        self.to_width = nn.ModuleDict(
            {
                name: nn.Linear(dim, config.embedding_dim, bias=False)
                for name, dim in self.embeddings.dims.items()
                if dim != config.embedding_dim
            }
        )
        self.hidden, width = hidden_layers(config.embedding_dim * len(FEATURES), config)
        self.output = nn.Linear(width, 1)
        self.tables = {
            **prefixed("embeddings", self.embeddings.tables),
            **prefixed("linear", self.linear.tables),
        }

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        vectors = self.embeddings(features)
        for name, layer in self.to_width.items():
            vectors[name] = layer(vectors[name])
        stacked = torch.stack([vectors[name] for name in FEATURES], dim=-2)
        pairs = 0.5 * (stacked.sum(-2).square() - stacked.square().sum(-2)).sum(-1)
        first_order = concatenate(self.linear(features)).sum(-1)
        deep = self.output(self.hidden(concatenate(vectors))).squeeze(-1)
        return first_order + pairs + deep
