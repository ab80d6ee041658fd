"""CGC (Tang et al., RecSys 2020): experts of each domain beside shared ones, mixed by a gate of the domain."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from training.config import ModelConfig
from training.data.schema import Schema
from training.models.domain_layers import Blocks, ByDomain, DomainLinear, tower
from training.models.layers import Embeddings, concatenate, hidden_layers, mix, prefixed


class CGC(nn.Module):
    """logit = t_d(g_d(x)), x = [e_user; e_item; e_domain; ...], with the tower t_d of domain d (equations 1 to 4).

    A domain has 58,065 floats at the default sizes (16.05 GB for 69,102 domains; 2.07 GB with hidden=[64]), in rows of
    tables; a row goes through the experts, gate and tower of its own domain only.
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
        x = concatenate(self.embeddings(features))
        blocks = Blocks(features["domain_id"], self.tower[-1].weight)
        return self.tower(self.extraction(x, x, blocks)[1], blocks).squeeze(-1)


class Extraction(nn.Module):
    """g_d = softmax(W_d x_d) S_d, with S_d the experts of domain d on x_d and the shared ones on x_s."""

    def __init__(self, domains: int, width: int, config: ModelConfig) -> None:
        super().__init__()
        layers = partial(hidden_layers, width, config.hidden, config.dropout)
        linear = partial(DomainLinear, domains)
        self.specific = nn.ModuleList(ByDomain(*layers(linear)[0]) for _ in range(config.specific_experts))
        self.shared = nn.ModuleList(layers()[0] for _ in range(config.experts))
        self.width = config.hidden[-1] if config.hidden else width
        self.gate = ByDomain(linear(width, config.specific_experts + config.experts, bias=False))
        self.tables = prefixed("gate", self.gate.tables)
        for number, expert in enumerate(self.specific):
            self.tables |= prefixed(f"specific.{number}", expert.tables)

    def forward(self, x_d: Tensor, x_s: Tensor, blocks: Blocks) -> tuple[Tensor, Tensor]:
        """S_d, shape (rows, experts, width), and g_d, shape (rows, width)."""
        own = [expert(x_d, blocks) for expert in self.specific]
        experts = torch.stack(own + [expert(x_s) for expert in self.shared], dim=-2)
        return experts, mix(experts, self.gate(x_d, blocks))
