"""Defines DeepFM (Guo et al., IJCAI 2017): a factorisation machine and an MLP on the same embeddings."""

from collections.abc import Mapping

from torch import Tensor, nn

from training.config import ModelConfig
from training.data.schema import Schema
from training.models.layers import Embeddings, concatenate, first_order_weights, hidden_layers, pair_products, prefixed


class DeepFM(nn.Module):
    """Computes logit = b + sum_f w_f + sum_{f<g} <v_f, v_g> + MLP([v_user; v_item; v_domain; ...]).

    These are equations 1 to 4 of the paper.
    """

    def __init__(self, config: ModelConfig, schema: Schema, vectors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.embeddings = Embeddings(config, schema, vectors, same_width=True)
        self.linear = first_order_weights(config, schema)
        self.hidden, width = hidden_layers(sum(self.embeddings.dims.values()), config.hidden, config.dropout)
        self.output = nn.Linear(width, 1)
        self.tables = {
            **prefixed("embeddings", self.embeddings.tables),
            **prefixed("linear", self.linear.tables),
        }

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Computes logits, shape (rows,), of named features."""
        vectors = self.embeddings(features)
        pairs = pair_products(vectors).sum(-1)
        first_order = concatenate(self.linear(features)).sum(-1)
        deep = self.output(self.hidden(concatenate(vectors))).squeeze(-1)
        return first_order + pairs + deep
