"""Defines MMoE (Ma et al., KDD 2018): shared experts, mixed by a gate for each domain."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from training.config import ModelConfig
from training.data.schema import Schema
from training.models.domain_layers import ByDomain, DomainLinear, tower
from training.models.layers import Embeddings, concatenate, hidden_layers, mix, prefixed


class MMoE(nn.Module):
    """Computes logit = t_d(sum_i g_d(x)_i f_i(x)), g_d(x) = softmax(W_d x), x = [e_user; e_item; e_domain; ...].

    f_i are the experts, W_d is the gate and t_d the tower of the sample's domain d (section 4.2). Gates and towers are
    rows of tables. A domain has 4,321 floats at the default sizes (1.19 GB for 69,102 domains).
    """

    def __init__(self, config: ModelConfig, schema: Schema, vectors: Mapping[str, Tensor]) -> None:
        super().__init__()
        domains = schema.sizes["domain_id"]
        self.embeddings = Embeddings(config, schema, vectors)
        width = sum(self.embeddings.dims.values())
        experts = [hidden_layers(width, config.hidden, config.dropout) for _ in range(config.experts)]
        self.experts = nn.ModuleList(expert for expert, _ in experts)
        self.gate = ByDomain(DomainLinear(domains, width, config.experts, bias=False))
        self.tower = tower(domains, experts[0][1], config)
        self.tables = {
            **prefixed("embeddings", self.embeddings.tables),
            **prefixed("gate", self.gate.tables),
            **prefixed("tower", self.tower.tables),
        }

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Computes logits, shape (rows,), of named features."""
        x = concatenate(self.embeddings(features))
        blocks = self.tower.blocks(features["domain_id"])
        experts = torch.stack([expert(x) for expert in self.experts], dim=-2)
        mixed = mix(experts, self.gate(x, blocks))
        return self.tower(mixed, blocks).squeeze(-1)
