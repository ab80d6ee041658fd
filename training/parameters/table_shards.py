"""Shards embedding tables over ranks: rank `id % ranks.size` owns the row of an id."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from training.parameters.row_initialization import draw_rows, table_key

if TYPE_CHECKING:
    from training.distributed.ranks import Ranks


class Shard:
    """Holds this rank's rows of all tables that are looked up by one vocabulary.

    A row is drawn when it is first pulled, and takes no memory before. Each table is reserved in full, and the
    operating system assigns memory pages as rows are added at its end. Until then an id costs 4 bytes in an index.

    Attributes:
        size: the number of ids in the vocabulary, over all ranks.
        dims: the number of columns of each table.
        scales: the standard deviation of each table's initial values; 0 for tables that start with zeros.
    """

    def __init__(
        self, vocabulary: str, size: int, seed: int, ranks: "Ranks", dtype: torch.dtype = torch.float32
    ) -> None:
        self.vocabulary, self.size, self.ranks = vocabulary, size, ranks
        self.dims: dict[str, int] = {}
        self.scales: dict[str, float] = {}
        self._seed, self._dtype = seed, dtype
        self._owned = len(range(ranks.rank, size, ranks.size))
        self.clear()

    def clear(self) -> None:
        """Discards all rows, so that each is drawn again when it is next pulled."""
        self._positions = _lazy_zeros(self._owned, dtype=torch.int32)  # by id // ranks: 1 + its position; 0: not drawn
        self._ids = _lazy_zeros(self._owned, dtype=torch.int64)  # by position
        self._rows = {name: _lazy_zeros(self._owned, dim, dtype=self._dtype) for name, dim in self.dims.items()}
        self._drawn = 0

    def add(self, name: str, dim: int, scale: float) -> None:
        """Adds a table of `dim` columns if there is none of this name. `draw_rows` gives its initial rows."""
        if name not in self._rows:
            self.dims[name], self.scales[name] = dim, scale
            self._rows[name] = _lazy_zeros(self._owned, dim, dtype=self._dtype)

    def __len__(self) -> int:
        """Returns the number of rows drawn so far."""
        return self._drawn

    def pull(self, ids: Tensor, names: list[str]) -> dict[str, Tensor]:
        """Fetches the rows of distinct `ids` from their owners. Every rank must call it.

        Returns:
            The rows of each table in `names`, shape (len(ids), dim).
        """
        self.ranks.wait()
        with self.ranks.timed("pull"):
            route = _Route(ids, self.ranks, self.vocabulary)
            positions = self._positions_of(route.requested)
            return {name: route.to_users(f"pull.{name}", self._rows[name][positions]) for name in names}

    def push(self, ids: Tensor, displacements: Mapping[str, Tensor], rate: float) -> None:
        """Adds `rate` times the mean displacement to each row. Every rank must call it.

        The mean of a row is over the ranks that send a displacement for it.

        Args:
            ids: distinct ids, shape (n,).
            displacements: by table, shape (n, dim).
            rate: the step size.
        """
        self.ranks.wait()
        with self.ranks.timed("push"):
            route = _Route(ids, self.ranks, self.vocabulary)
            positions = self._positions_of(route.requested)
            distinct, inverse, counts = torch.unique(positions, return_inverse=True, return_counts=True)
            for name, rows in displacements.items():
                total = torch.zeros(len(distinct), self.dims[name], dtype=self._dtype)
                total.index_add_(0, inverse, route.to_owners(f"push.{name}", rows).to(self._dtype))
                self._rows[name].index_add_(0, distinct, total / counts.unsqueeze(1), alpha=rate)

    def state(self) -> dict[str, Tensor]:
        """Returns the drawn rows of each table, and under "ids" their ids in ascending order."""
        ids, order = self._ids[: self._drawn].sort()
        return {"ids": ids, **{name: rows[order] for name, rows in self._rows.items()}}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Adds those rows of a saved `state` that this rank owns. Any number of ranks may have saved it."""
        owned = state["ids"] % self.ranks.size == self.ranks.rank
        positions = self._positions_of(state["ids"][owned])
        for name, rows in state.items():
            if name != "ids":
                self.add(name, rows.shape[1], 0.0)
                self._rows[name][positions] = rows[owned].to(self._dtype)

    def _positions_of(self, ids: Tensor) -> Tensor:
        """Returns the positions of owned ids in the tables, after drawing the rows that are new."""
        local = ids // self.ranks.size
        new = torch.unique(ids[self._positions[local] == 0])
        if len(new):
            begin, self._drawn = self._drawn, self._drawn + len(new)
            self._ids[begin : self._drawn] = new
            self._positions[new // self.ranks.size] = torch.arange(begin + 1, self._drawn + 1, dtype=torch.int32)
            for name, rows in self._rows.items():
                if self.scales[name]:
                    drawn = draw_rows(new.numpy(), self.dims[name], self.scales[name], table_key(self._seed, name))
                    rows[begin : self._drawn] = torch.from_numpy(drawn).to(self._dtype)
        return self._positions[local].long() - 1


class _Route:
    """Carries rows between the ranks that use them and the ranks that own them.

    Attributes:
        requested: the ids that the ranks request from this rank, in the order of the ranks.
    """

    def __init__(self, ids: Tensor, ranks: "Ranks", vocabulary: str) -> None:
        ids = ids.cpu()
        self._ranks, self._name = ranks, vocabulary
        owner = ids % ranks.size
        self._order = torch.argsort(owner, stable=True)
        self._splits = torch.bincount(owner, minlength=ranks.size)
        self.requested, self._requested_splits = ranks.exchange(f"{vocabulary}.ids", ids[self._order], self._splits)

    def to_owners(self, name: str, rows: Tensor) -> Tensor:
        """Sends a row for each of `ids` to its owner, and returns the rows received for `requested`."""
        return self._ranks.exchange(f"{self._name}.{name}", rows.cpu()[self._order], self._splits)[0]

    def to_users(self, name: str, rows: Tensor) -> Tensor:
        """Sends a row for each of `requested` to its user, and returns the rows received for `ids`."""
        received, _ = self._ranks.exchange(f"{self._name}.{name}", rows, self._requested_splits)
        result = torch.empty_like(received)
        result[self._order] = received
        return result


def _lazy_zeros(*shape: int, dtype: torch.dtype) -> Tensor:
    """Returns zeros that take no memory until they are written to."""
    return torch.from_numpy(np.zeros(shape, str(dtype).removeprefix("torch.")))
