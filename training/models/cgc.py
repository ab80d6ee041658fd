"""Defines CGC (Tang et al., RecSys 2020): experts of each domain and shared experts, mixed by a gate of the domain."""

from collections.abc import Mapping

from torch import Tensor, nn

from training.config import ModelConfig
from training.data.schema import Schema
from training.models.domain_layers import Extraction, tower
from training.models.layers import Embeddings, concatenate, prefixed


class CGC(nn.Module):
    """Computes logit = t_d(g_d(x)), x = [e_user; e_item; e_domain; ...], with the tower t_d (equations 1 to 4).

    Experts, gate and tower of a domain d are rows of tables: 58,065 floats at the default sizes (16.05 GB for 69,102
    domains; 2.07 GB with hidden=[64]).
    """

    def __init__(self, config: ModelConfig, schema: Schema, vectors: Mapping[str, Tensor]) -> None:
        super().__init__()
        domains = schema.sizes["domain_id"]
        self.embeddings = Embeddings(config, schema, vectors)
        self.extraction = Extraction(domains, sum(self.embeddings.dims.values()), config)
        self.tower = tower(domains, self.extraction.width, config)
        self.tables = {
            **prefixed("embeddings", self.embeddings.tables),
            **prefixed("extraction", self.extraction.tables),
            **prefixed("tower", self.tower.tables),
        }

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Computes logits, shape (rows,), of named features."""
        x, blocks = concatenate(self.embeddings(features)), self.tower.blocks(features["domain_id"])
        return self.tower(self.extraction(x, x, blocks)[1], blocks).squeeze(-1)
