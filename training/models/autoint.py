"""Defines AutoInt (Song et al., CIKM 2019): self-attention between features."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from training.config import ModelConfig
from training.data.schema import Schema
from training.models.layers import Embeddings, concatenate, hidden_layers, prefixed


class AutoInt(nn.Module):
    """Computes logit = w . [e'_user; e'_item; e'_domain; ...] + MLP([e_user; e_item; e_domain; ...]) + b.

    e' are the vectors after `levels` interacting layers (equation 9, AutoInt+).
    """

    def __init__(self, config: ModelConfig, schema: Schema, vectors: Mapping[str, Tensor]) -> None:
        super().__init__()
        dim = config.embedding_dim
        self.embeddings = Embeddings(config, schema, vectors, same_width=True)
        widths = [dim] + [dim * config.heads] * config.levels
        self.interacting = nn.Sequential(*(Interacting(width, dim, config.heads) for width in widths[:-1]))
        self.linear = nn.Linear(len(schema.features) * widths[-1], 1, bias=False)
        self.hidden, width = hidden_layers(len(schema.features) * dim, config.hidden, config.dropout)
        self.output = nn.Linear(width, 1)
        self.tables = prefixed("embeddings", self.embeddings.tables)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Computes logits, shape (rows,), of named features."""
        vectors = self.embeddings(features)
        interacted = self.interacting(torch.stack(list(vectors.values()), dim=-2)).flatten(-2)
        return (self.linear(interacted) + self.output(self.hidden(concatenate(vectors)))).squeeze(-1)


class Interacting(nn.Module):
    """Computes e'_m = ReLU([sum_k a_mk W_V e_k for each head] + W_R e_m), a_m = softmax_k <W_Q e_m, W_K e_k>.

    These are equations 5 to 8 of the paper.
    """

    def __init__(self, width: int, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.residual = (nn.Linear(width, heads * dim, bias=False) for _ in range(4))

    def forward(self, e: Tensor) -> Tensor:
        """Maps shape (rows, features, width) to (rows, features, heads * dim)."""
        query, key, value = (
            layer(e).unflatten(-1, (self.heads, -1)).transpose(-2, -3) for layer in (self.query, self.key, self.value)
        )
        mixed = (query @ key.mT).softmax(-1) @ value
        return torch.relu(mixed.transpose(-2, -3).flatten(-2) + self.residual(e))
