"""Tables that are elsewhere, read as tensors are: table[ids] gives the rows of ids of any shape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.parameters.table_shards import draw_rows


@dataclass(frozen=True)
class PulledTable:
    """Some rows of a table. Attributes: ids, sorted; rows, shape (len(ids), dim)."""

    ids: Tensor
    rows: Tensor

    def __getitem__(self, ids: Tensor) -> Tensor:
        return self.rows[torch.searchsorted(self.ids, ids)]


@dataclass(frozen=True)
class StoredTable:
    """A table in the memory-mapped files of the ranks that trained it.

    Attributes:
        shards: of each rank the ids that it has rows of, sorted, and those rows.
        shape: (rows, dim) of the whole table.
        scale, key: what a row that no rank has is drawn by, as in training/parameters/table_shards.py.
    """

    shards: Sequence[tuple[Tensor, Tensor]]
    shape: tuple[int, int]
    scale: float
    key: int
    like: Tensor

    def __getitem__(self, ids: Tensor) -> Tensor:
        flat = ids.flatten().cpu()
        owner = flat % len(self.shards)
        result = torch.empty(len(flat), self.shape[1], dtype=self.like.dtype)
        for rank, shard in enumerate(self.shards):
            own = owner == rank
            result[own] = self._rows(*shard, flat[own])
        return result.to(self.like.device).view(*ids.shape, self.shape[1])

    def _rows(self, known: Tensor, rows: Tensor, ids: Tensor) -> Tensor:
        places = torch.searchsorted(known, ids)
        found = places < len(known)
        found[found.clone()] = known[places[found]] == ids[found]
        result = torch.empty(len(ids), self.shape[1], dtype=self.like.dtype)
        result[found] = rows[places[found]].to(result.dtype)
        new, inverse = torch.unique(ids[~found], return_inverse=True)
        drawn = torch.from_numpy(draw_rows(new.numpy(), self.shape[1], self.scale, self.key))
        result[~found] = drawn.to(result.dtype)[inverse]
        return result

    def new_zeros(self, *shape: int) -> Tensor:
        return self.like.new_zeros(*shape)


Table = Tensor | PulledTable | StoredTable


def any_remote(tables: Mapping[str, Table]) -> bool:
    return not all(isinstance(table, Tensor) for table in tables.values())
