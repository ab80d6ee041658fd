"""MMoE (Ma et al., KDD 2018): shared experts, mixed by a gate of each domain."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from training.config import ModelConfig
from training.data.schema import Schema
from training.models.domain_layers import Blocks, ByDomain, DomainLinear, tower
from training.models.layers import Embeddings, concatenate, hidden_layers, mix, prefixed


class MMoE(nn.Module):
    """logit = t_d(sum_i g_d(x)_i f_i(x)), g_d(x) = softmax(W_d x), x = [e_user; e_item; e_domain; ...] (section 4.2).

    f_i are the experts, W_d the gate and t_d the tower of the row's domain d. A domain has 4,321 floats at the default
    sizes (1.19 GB for 69,102 domains), in rows of tables; a row goes through the gate and tower of its own domain only.
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
        x = concatenate(self.embeddings(features))
        blocks = Blocks(features["domain_id"], self.tower[-1].weight)
        experts = torch.stack([expert(x) for expert in self.experts], dim=-2)
        mixed = mix(experts, self.gate(x, blocks))
        return self.tower(mixed, blocks).squeeze(-1)
