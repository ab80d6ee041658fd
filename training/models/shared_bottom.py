"""Defines Shared-bottom: hidden layers shared by all domains, and a tower for each domain (Caruana, 1997)."""

from collections.abc import Mapping

from torch import Tensor, nn

from training.config import ModelConfig
from training.data.schema import Schema
from training.models.domain_layers import tower
from training.models.layers import Embeddings, concatenate, hidden_layers, prefixed


class SharedBottom(nn.Module):
    """Computes logit = t_d(f([e_user; e_item; e_domain; ...])).

    f are the hidden layers, and t_d is the tower of the sample's domain d. Towers are rows of tables. A domain has
    4,225 floats at the default sizes (1.17 GB for 69,102 domains).
    """

    def __init__(self, config: ModelConfig, schema: Schema, vectors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.embeddings = Embeddings(config, schema, vectors)
        self.bottom, width = hidden_layers(sum(self.embeddings.dims.values()), config.hidden, config.dropout)
        self.tower = tower(schema.sizes["domain_id"], width, config)
        self.tables = {
            **prefixed("embeddings", self.embeddings.tables),
            **prefixed("tower", self.tower.tables),
        }

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Computes logits, shape (rows,), of named features."""
        bottom = self.bottom(concatenate(self.embeddings(features)))
        return self.tower(bottom, self.tower.blocks(features["domain_id"])).squeeze(-1)
