"""Defines MLP: hidden layers on the concatenated vectors of all features."""

from collections.abc import Mapping

from torch import Tensor, nn

from training.config import ModelConfig
from training.data.schema import Schema
from training.models.layers import Embeddings, concatenate, hidden_layers, prefixed


class MLP(nn.Module):
    """Computes logit = w . h([e_user; e_item; e_domain; ...]) + b, with h the hidden layers (ReLU, dropout)."""

    def __init__(self, config: ModelConfig, schema: Schema, vectors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.embeddings = Embeddings(config, schema, vectors)
        self.hidden, width = hidden_layers(sum(self.embeddings.dims.values()), config.hidden, config.dropout)
        self.output = nn.Linear(width, 1)
        self.tables = prefixed("embeddings", self.embeddings.tables)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Computes logits, shape (rows,), of named features."""
        return self.output(self.hidden(concatenate(self.embeddings(features)))).squeeze(-1)
