"""Defines Wide & Deep (Cheng et al., DLRS 2016): a linear model and an MLP, trained together."""

from collections.abc import Mapping

from torch import Tensor, nn

from training.config import ModelConfig
from training.data.schema import Schema
from training.models.layers import Embeddings, concatenate, first_order_weights, hidden_layers, prefixed


class WideDeep(nn.Module):
    """Computes logit = sum_f w_f + w . h([e_user; e_item; e_domain; ...]) + b, with h the hidden layers (equation 3).

    The wide part has a weight for each value of a feature. The paper also has hand-picked products of two features;
    they can be added to the data as features.
    """

    def __init__(self, config: ModelConfig, schema: Schema, vectors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.embeddings = Embeddings(config, schema, vectors)
        self.wide = first_order_weights(config, schema)
        self.hidden, width = hidden_layers(sum(self.embeddings.dims.values()), config.hidden, config.dropout)
        self.output = nn.Linear(width, 1)
        self.tables = {
            **prefixed("embeddings", self.embeddings.tables),
            **prefixed("wide", self.wide.tables),
        }

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Computes logits, shape (rows,), of named features."""
        wide = concatenate(self.wide(features)).sum(-1)
        return wide + self.output(self.hidden(concatenate(self.embeddings(features)))).squeeze(-1)
