"""PLE (Tang et al., RecSys 2020): extraction networks as of CGC, one on the other."""

from collections.abc import Mapping

from torch import Tensor, nn

from training.config import ModelConfig
from training.data.schema import Schema
from training.models.cgc import Extraction
from training.models.domain_layers import Blocks, tower
from training.models.layers import Embeddings, concatenate, mix, prefixed


class PLE(nn.Module):
    """logit = t_d(g_d^N), g_d^j = softmax(W_d^j g_d^{j-1}) S_d^j, S_d^j on g_d^{j-1} and g_s^{j-1} (equations 5 and 6).

    g_d^0 = g_s^0 = [e_user; e_item; e_domain; ...]; g_s^j is mixed by a shared gate on g_s^{j-1}. That gate has the
    experts of all tasks in the paper, here the shared ones and those of the row's own domain d: with an expert of each
    of 69,102 domains, a row would go through all of them. N is `levels`.

    A domain has 116,049 floats at the default sizes (32.08 GB for 69,102 domains; 3.28 GB with hidden=[64]), in rows of
    tables.
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
        blocks = Blocks(features["domain_id"], self.tower[-1].weight)
        own = shared = concatenate(self.embeddings(features))
        for level, shared_gate in zip(self.levels[:-1], self.shared_gates, strict=True):
            experts, own = level(own, shared, blocks)
            shared = mix(experts, shared_gate(shared))
        _, own = self.levels[-1](own, shared, blocks)
        return self.tower(own, blocks).squeeze(-1)
