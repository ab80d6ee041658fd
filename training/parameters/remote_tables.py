"""Tables whose rows are not all in this process, but can be read like tensors: table[ids] returns their rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from training.parameters.row_initialization import draw_rows


class Table(Protocol):
    """Describes what can be looked up by ids: a tensor, or one of the classes below."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Returns (rows, dim)."""

    def __getitem__(self, ids: Tensor, /) -> Tensor:
        """Returns the rows of `ids`, shape (*ids.shape, dim)."""


@dataclass(frozen=True)
class PulledTable:
    """Holds copies of some rows of a table; only these can be looked up.

    Attributes:
        ids: sorted, shape (n,).
        rows: shape (n, dim).
    """

    ids: Tensor
    rows: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Returns the shape of the pulled rows."""
        return tuple(self.rows.shape)

    def __getitem__(self, ids: Tensor) -> Tensor:
        return self.rows[torch.searchsorted(self.ids, ids)]


@dataclass(frozen=True)
class StoredTable:
    """Reads a table from the memory-mapped files of the ranks that trained it.

    Attributes:
        shards: for each rank the sorted ids of its rows, and those rows.
        shape: (rows, dim) of the whole table.
        scale: the standard deviation of the initial values of rows that no rank has.
        key: their key, see training/parameters/row_initialization.py.
        like: a tensor with the dtype and device of the rows to return.
    """

    shards: Sequence[tuple[Tensor, Tensor]]
    shape: tuple[int, ...]
    scale: float
    key: int
    like: Tensor

    def __getitem__(self, ids: Tensor) -> Tensor:
        flat = ids.flatten().cpu()
        owner = flat % len(self.shards)
        result = torch.empty(len(flat), self.shape[1], dtype=self.like.dtype)
        for rank, (stored_ids, rows) in enumerate(self.shards):
            from_rank = owner == rank
            result[from_rank] = self._read(stored_ids, rows, flat[from_rank])
        return result.to(self.like.device).view(*ids.shape, self.shape[1])

    def _read(self, stored_ids: Tensor, rows: Tensor, ids: Tensor) -> Tensor:
        """Returns the rows of `ids` from one rank's file, drawing those that it lacks."""
        positions = torch.searchsorted(stored_ids, ids)
        stored = positions < len(stored_ids)
        stored[stored.clone()] = stored_ids[positions[stored]] == ids[stored]
        result = torch.empty(len(ids), self.shape[1], dtype=self.like.dtype)
        result[stored] = rows[positions[stored]].to(result.dtype)
        new, inverse = torch.unique(ids[~stored], return_inverse=True)
        drawn = torch.from_numpy(draw_rows(new.numpy(), self.shape[1], self.scale, self.key))
        result[~stored] = drawn.to(result.dtype)[inverse]
        return result


def any_remote(tables: Mapping[str, Table]) -> bool:
    """Returns whether any of the tables is not a tensor."""
    return not all(isinstance(table, Tensor) for table in tables.values())
