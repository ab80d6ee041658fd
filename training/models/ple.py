"""Defines PLE (Tang et al., RecSys 2020): several extraction networks like that of CGC, one after another."""

from collections.abc import Mapping

from torch import Tensor, nn

from training.config import ModelConfig
from training.data.schema import Schema
from training.models.domain_layers import Extraction, tower
from training.models.layers import Embeddings, concatenate, mix, prefixed


class PLE(nn.Module):
    """Computes logit = t_d(g_d^N), g_d^j = softmax(W_d^j g_d^{j-1}) S_d^j, S_d^j on g_d^{j-1} and g_s^{j-1}.

    These are equations 5 and 6 of the paper, with N = `levels` and g_d^0 = g_s^0 = [e_user; e_item; e_domain; ...]. A
    shared gate on g_s^{j-1} mixes g_s^j. In the paper it mixes the experts of all tasks. Here it mixes the shared
    experts and those of the sample's domain d: otherwise a sample would go through the experts of all domains.

    What belongs to a domain are rows of tables. A domain has 116,049 floats at the default sizes (32.08 GB for 69,102
    domains; 3.28 GB with hidden=[64]).
    """

    def __init__(self, config: ModelConfig, schema: Schema, vectors: Mapping[str, Tensor]) -> None:
        super().__init__()
        domains = schema.sizes["domain_id"]
        self.embeddings = Embeddings(config, schema, vectors)
        self.tables = prefixed("embeddings", self.embeddings.tables)
        self.levels, self.shared_gates = nn.ModuleList(), nn.ModuleList()
        width = sum(self.embeddings.dims.values())
        for level in range(config.levels):
            extraction = Extraction(domains, width, config)
            if level < config.levels - 1:
                self.shared_gates.append(nn.Linear(width, config.specific_experts + config.experts, bias=False))
            self.levels.append(extraction)
            self.tables |= prefixed(f"levels.{level}", extraction.tables)
            width = extraction.width
        self.tower = tower(domains, width, config)
        self.tables |= prefixed("tower", self.tower.tables)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Computes logits, shape (rows,), of named features."""
        blocks = self.tower.blocks(features["domain_id"])
        g_d = g_s = concatenate(self.embeddings(features))
        for level, shared_gate in zip(self.levels[:-1], self.shared_gates, strict=True):
            experts, g_d = level(g_d, g_s, blocks)
            g_s = mix(experts, shared_gate(g_s))
        _, g_d = self.levels[-1](g_d, g_s, blocks)
        return self.tower(g_d, blocks).squeeze(-1)
