"""Provides layers with separate weights for each domain, as rows of tables: 69,102 domains are rows, not modules.

The trainer holds such tables four times: the values, Adam's two moments, and the best epoch's values.
"""

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from training.config import ModelConfig
from training.models.layers import hidden_layers, mix, prefixed


class Blocks:
    """Arranges the samples of a forward pass in blocks of one domain each, so that a block needs one weight matrix.

    A block has as many slots as a domain has samples on average. The last block of a domain is padded with zeros. So
    there are fewer than twice as many blocks as domains, and fewer than twice as many slots as samples. For instance,
    samples of the domains 4, 9, 4, 4 become the blocks [0, 2] and [3, padding] of domain 4 and [1, padding] of 9.

    With tables of one row, all samples are one block, and no shape depends on the data. vmap needs that.
    """

    def __init__(self, domain_id: Tensor, table: Tensor) -> None:
        """Plans the blocks.

        Args:
            domain_id: the domain of each sample, shape (rows,).
            table: any table with a row for each domain.
        """
        self._slot: Tensor | None = None
        if len(table) == 1:
            return
        counts = torch.bincount(domain_id, minlength=len(table))
        self._size = -(-len(domain_id) // int(counts.count_nonzero()))
        blocks = -(-counts // self._size)
        padding = blocks * self._size - counts
        padding_before = padding.cumsum(0) - padding
        order = domain_id.argsort()
        self._domain = torch.repeat_interleave(blocks)
        self._slot = torch.empty_like(order)
        self._slot[order] = torch.arange(len(order), device=order.device) + padding_before[domain_id[order]]

    def cut(self, x: Tensor) -> Tensor:
        """Maps samples, shape (rows, width), to blocks, shape (blocks, slots, width)."""
        if self._slot is None:
            return x.unsqueeze(0)
        slots = x.new_zeros(len(self._domain) * self._size, x.shape[1])
        return slots.index_copy(0, self._slot, x).unflatten(0, (-1, self._size))

    def join(self, x: Tensor) -> Tensor:
        """Maps the blocks of `cut` back to samples in their original order."""
        return x.squeeze(0) if self._slot is None else embedding(self._slot, x.flatten(0, 1))

    def of(self, table: Tensor) -> Tensor:
        """Returns the row of each block's domain, shape (blocks, dim)."""
        return table if self._slot is None else embedding(self._domain, table)


class DomainLinear(nn.Module):
    """Computes y = W_d x + b_d on blocks of `Blocks`, with d the domain of a block.

    A row of the table `weight` is W_d, flattened. Each domain has the initial values of a separate nn.Linear.
    """

    def __init__(self, domains: int, width: int, size: int, bias: bool = True) -> None:
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.empty(domains, size * width))
        self.bias = nn.Parameter(torch.empty(domains, size)) if bias else None
        self.tables = {name: "domain_id" for name, _ in self.named_parameters()}
        self.reset()

    def reset(self) -> None:
        """Draws the initial values."""
        for table in self.parameters():
            nn.init.uniform_(table, -1 / math.sqrt(self.width), 1 / math.sqrt(self.width))

    def weights(self, blocks: Blocks) -> tuple[Tensor, Tensor | None]:
        """Returns W_d, shape (blocks, size, width), and b_d, shape (blocks, 1, size)."""
        weight = blocks.of(self.weight).unflatten(1, (-1, self.width))
        return weight, None if self.bias is None else blocks.of(self.bias).unsqueeze(1)

    def forward(self, x: Tensor, blocks: Blocks) -> Tensor:
        """Maps shape (blocks, slots, width) to (blocks, slots, size)."""
        weight, bias = self.weights(blocks)
        return x @ weight.mT if bias is None else torch.baddbmm(bias, x, weight.mT)


class StarLinear(DomainLinear):
    """Computes y = (W_s * W_d) x + b_s + b_d, with shared W_s and b_s, and * by element.

    W_d starts at one and b_d at zero.
    """

    def __init__(self, domains: int, width: int, size: int) -> None:
        super().__init__(domains, width, size)
        self.shared = nn.Linear(width, size)

    def reset(self) -> None:
        """Sets W_d to one and b_d to zero."""
        for name, table in self.named_parameters():
            nn.init.constant_(table, 1.0 if name == "weight" else 0.0)

    def weights(self, blocks: Blocks) -> tuple[Tensor, Tensor | None]:
        """Returns W_s * W_d and b_s + b_d, of the shapes in `DomainLinear.weights`."""
        weight, bias = super().weights(blocks)
        return self.shared.weight * weight, self.shared.bias if bias is None else self.shared.bias + bias


class ByDomain(nn.Sequential):
    """Runs samples through a sequence of DomainLinear and of layers without domains, such as ReLU."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.tables: dict[str, str] = {}
        for index, layer in enumerate(layers):
            self.tables |= prefixed(str(index), getattr(layer, "tables", {}))

    def blocks(self, domain_id: Tensor) -> Blocks:
        """Returns the blocks of a forward pass, which all layers by domain of a model can share."""
        return Blocks(domain_id, next(self.parameters()))

    def forward(self, x: Tensor, blocks: Blocks) -> Tensor:  # type: ignore[override]  # nn.Sequential takes no blocks
        """Maps shape (rows, width) to (rows, width of the last layer)."""
        x = blocks.cut(x)
        for layer in self:
            x = layer(x, blocks) if isinstance(layer, DomainLinear) else layer(x)
        return blocks.join(x)


def tower(domains: int, width: int, config: ModelConfig) -> ByDomain:
    """Returns hidden layers `config.tower` and an output layer for each domain, which give shape (rows, 1)."""
    linear = partial(DomainLinear, domains)
    hidden, width = hidden_layers(width, config.tower, config.dropout, linear)
    return ByDomain(*hidden, linear(width, 1))


class Extraction(nn.Module):
    """Computes g_d = softmax(W_d x_d) S_d, the extraction network of CGC and PLE.

    S_d are the experts of domain d on x_d, and the shared experts on x_s.
    """

    def __init__(self, domains: int, width: int, config: ModelConfig) -> None:
        super().__init__()
        layers = partial(hidden_layers, width, config.hidden, config.dropout)
        linear = partial(DomainLinear, domains)
        specific = [ByDomain(*layers(linear)[0]) for _ in range(config.specific_experts)]
        shared = [layers()[0] for _ in range(config.experts)]
        self.specific, self.shared = nn.ModuleList(specific), nn.ModuleList(shared)
        self.width = config.hidden[-1] if config.hidden else width
        self.gate = ByDomain(linear(width, config.specific_experts + config.experts, bias=False))
        self.tables = prefixed("gate", self.gate.tables)
        for index, expert in enumerate(specific):
            self.tables |= prefixed(f"specific.{index}", expert.tables)

    def forward(self, x_d: Tensor, x_s: Tensor, blocks: Blocks) -> tuple[Tensor, Tensor]:
        """Returns S_d, shape (rows, experts, width), and g_d, shape (rows, width)."""
        specific = [expert(x_d, blocks) for expert in self.specific]
        experts = torch.stack(specific + [expert(x_s) for expert in self.shared], dim=-2)
        return experts, mix(experts, self.gate(x_d, blocks))
