"""Defines NeurFM (He and Chua, SIGIR 2017): an MLP on the sum of the products of all pairs of embeddings."""

from collections.abc import Mapping

from torch import Tensor, nn

from training.config import ModelConfig
from training.data.schema import Schema
from training.models.dropout import Dropout
from training.models.layers import Embeddings, concatenate, first_order_weights, hidden_layers, pair_products, prefixed


class NeurFM(nn.Module):
    """Computes logit = b + sum_f w_f + w . h(sum_{f<g} v_f * v_g), with h the hidden layers and * by element.

    This is section 3.1 of the paper. Dropout is also on the sum of products, as in the paper. The optional batch
    normalisation is left out.
    """

    def __init__(self, config: ModelConfig, schema: Schema, vectors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.embeddings = Embeddings(config, schema, vectors, same_width=True)
        self.linear = first_order_weights(config, schema)
        self.dropout = Dropout(config.dropout)
        self.hidden, width = hidden_layers(config.embedding_dim, config.hidden, config.dropout)
        self.output = nn.Linear(width, 1)
        self.tables = {
            **prefixed("embeddings", self.embeddings.tables),
            **prefixed("linear", self.linear.tables),
        }

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Computes logits, shape (rows,), of named features."""
        first_order = concatenate(self.linear(features)).sum(-1)
        pooled = self.dropout(pair_products(self.embeddings(features)))
        return first_order + self.output(self.hidden(pooled)).squeeze(-1)
