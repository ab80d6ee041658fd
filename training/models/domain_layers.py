"""Layers whose weights each domain has for itself, as rows of tables: 69,102 domains are rows, not modules.

The trainer holds such tables four times: the values, Adam's two moments, and the best epoch's values.
"""

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from training.config import ModelConfig
from training.models.layers import hidden_layers, prefixed


class Blocks:
    """The rows of one forward pass in blocks of rows of one domain, which take one weight matrix a block.

    A block has as many rows as a domain has here on average, and the last block of a domain is filled up with zeros:
    so blocks are fewer than twice the domains, and filled up they hold fewer than twice the rows.

    Example: rows of the domains 4, 9, 4, 4 are blocks [0, 2], [3, filling] of domain 4 and [1, filling] of domain 9.

    With tables of one row, all rows are one block, and no shape depends on the data, as vmap needs it.
    """

    def __init__(self, domain_id: Tensor, table: Tensor) -> None:
        """Args:
        domain_id: shape (rows,). table: any of the tables.
        """
        self._place = None
        if len(table) == 1:
            return
        counts = torch.bincount(domain_id, minlength=len(table))
        self._size = -(-len(domain_id) // int(counts.count_nonzero()))
        blocks = -(-counts // self._size)
        filling = blocks * self._size - counts
        filling_before = filling.cumsum(0) - filling
        order = domain_id.argsort()
        self._domain = torch.repeat_interleave(blocks)
        self._place = torch.empty_like(order)
        self._place[order] = torch.arange(len(order), device=order.device) + filling_before[domain_id[order]]

    def cut(self, x: Tensor) -> Tensor:
        """(rows, width) -> (blocks, rows of a block, width)."""
        if self._place is None:
            return x.unsqueeze(0)
        slots = x.new_zeros(len(self._domain) * self._size, x.shape[1])
        return slots.index_copy(0, self._place, x).unflatten(0, (-1, self._size))

    def join(self, x: Tensor) -> Tensor:
        """The rows of `cut` in their own order again."""
        return x.squeeze(0) if self._place is None else embedding(self._place, x.flatten(0, 1))

    def of(self, table: Tensor) -> Tensor:
        """The row of each block's domain, shape (blocks, dim)."""
        return table if self._place is None else embedding(self._domain, table)


class DomainLinear(nn.Module):
    """y = W_d x + b_d, with d the row's domain; from and to the blocks of `Blocks`.

    A row of the table `weight` is W_d, flat, as nn.Linear has it; each domain starts as an nn.Linear of its own would.
    """

    def __init__(self, domains: int, width: int, size: int, bias: bool = True) -> None:
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.empty(domains, size * width))
        self.bias = nn.Parameter(torch.empty(domains, size)) if bias else None
        self.tables = {name: "domain_id" for name, _ in self.named_parameters()}
        self.reset()

    def reset(self) -> None:
        for table in self.parameters():
            nn.init.uniform_(table, -1 / math.sqrt(self.width), 1 / math.sqrt(self.width))

    def weights(self, blocks: Blocks) -> tuple[Tensor, Tensor | None]:
        """W_d, shape (blocks, size, width), and b_d, shape (blocks, 1, size)."""
        weight = blocks.of(self.weight).unflatten(1, (-1, self.width))
        return weight, None if self.bias is None else blocks.of(self.bias).unsqueeze(1)

    def forward(self, x: Tensor, blocks: Blocks) -> Tensor:
        weight, bias = self.weights(blocks)
        return x @ weight.mT if bias is None else torch.baddbmm(bias, x, weight.mT)


class StarLinear(DomainLinear):
    """y = (W_s * W_d) x + b_s + b_d, with W_s and b_s shared and * by element.

    W_d starts at one and b_d at zero. The table holds W_d itself: W_d - 1 would start at zero, but zeros fill as much
    memory.
    """

    def __init__(self, domains: int, width: int, size: int) -> None:
        super().__init__(domains, width, size)
        self.shared = nn.Linear(width, size)

    def reset(self) -> None:
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def weights(self, blocks: Blocks) -> tuple[Tensor, Tensor]:
        weight, bias = super().weights(blocks)
        return self.shared.weight * weight, self.shared.bias + bias


class ByDomain(nn.Sequential):
    """A sequence of DomainLinear, and of layers that treat all rows alike; rows in, rows out."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.tables = {}
        for place, layer in enumerate(layers):
            self.tables |= prefixed(str(place), getattr(layer, "tables", {}))

    def forward(self, x: Tensor, blocks: Blocks) -> Tensor:
        x = blocks.cut(x)
        for layer in self:
            x = layer(x, blocks) if isinstance(layer, DomainLinear) else layer(x)
        return blocks.join(x)


def tower(domains: int, width: int, config: ModelConfig) -> ByDomain:
    """Hidden layers `config.tower` and a logit of the row's own domain, shape (rows, 1)."""
    linear = partial(DomainLinear, domains)
    hidden, width = hidden_layers(width, config.tower, config.dropout, linear)
    return ByDomain(*hidden, linear(width, 1))
