"""Defines STAR (Sheng et al., CIKM 2021): a shared network, whose weights each domain multiplies by its own."""

from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn

from training.config import ModelConfig
from training.data.schema import Schema
from training.models.domain_layers import ByDomain, StarLinear
from training.models.layers import Embeddings, concatenate, hidden_layers, prefixed
from training.models.partitioned_norm import PartitionedNorm


class STAR(nn.Module):
    """Computes logit = f_d(PN_d([e_user; e_item; ...])) + a([e_user; e_item; e_domain; ...]) in domain d.

    f_d has layers W x + b with W = W_s * W_d (by element) and b = b_s + b_d. PN_d is partitioned normalisation. The
    auxiliary network a is an MLP with hidden layers `tower`. Only a gets the domain's vector: it does not vary within a
    domain, so normalisation would remove it.

    What belongs to a domain are rows of tables. A domain has 49,729 floats and 65 of statistics at the default sizes
    (13.76 GB for 69,102 domains).
    """

    def __init__(self, config: ModelConfig, schema: Schema, vectors: Mapping[str, Tensor]) -> None:
        super().__init__()
        linear = partial(StarLinear, schema.sizes["domain_id"])
        self.embeddings = Embeddings(config, schema, vectors)
        full_width = sum(self.embeddings.dims.values())
        width = full_width - self.embeddings.dims["domain_id"]
        self.normalise = PartitionedNorm(schema.sizes["domain_id"], width)
        hidden, width = hidden_layers(width, config.hidden, config.dropout, linear)
        self.network = ByDomain(*hidden, linear(width, 1))
        hidden, width = hidden_layers(full_width, config.tower, config.dropout)
        self.auxiliary = nn.Sequential(*hidden, nn.Linear(width, 1))
        self.tables = {
            **prefixed("embeddings", self.embeddings.tables),
            **prefixed("normalise", self.normalise.tables),
            **prefixed("network", self.network.tables),
        }

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Computes logits, shape (rows,), of named features."""
        vectors = self.embeddings(features)
        auxiliary = self.auxiliary(concatenate(vectors))
        del vectors["domain_id"]
        x = self.normalise(concatenate(vectors), features["domain_id"])
        return (self.network(x, self.network.blocks(features["domain_id"])) + auxiliary).squeeze(-1)
