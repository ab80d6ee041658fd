"""Embedding tables that are sharded over ranks: a row lies with the rank that is its id modulo the number of ranks."""

from collections.abc import Mapping

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from training.distributed.ranks import Ranks
from training.hashing import hash_keys


def draw_rows(ids: np.ndarray, dim: int, scale: float, key: int) -> np.ndarray:
    """What the rows of `ids` begin with: normal, of standard deviation `scale`, decided by (key, id, column) alone.

    Returns:
        float32, shape (len(ids), dim).
    """
    bits = hash_keys(key, ids[:, None], np.arange(dim)) >> np.uint64(11)
    return (ndtri((bits + 0.5) / 2.0**53) * scale).astype(np.float32)


class Shard:
    """This rank's rows of the tables that are looked up by one vocabulary.

    A row is drawn when it is first pulled. Until then it takes no memory: a table is reserved whole, and the system
    gives it pages as places in it are taken, one after the other. What an id costs before is 4 bytes for its place.

    Attributes:
        size: of the vocabulary. dims: the width of each table. scales: the spread that its rows are drawn with.
    """

    def __init__(self, vocabulary: str, size: int, seed: int, ranks: Ranks, dtype: torch.dtype = torch.float32) -> None:
        self.vocabulary, self.size, self.ranks = vocabulary, size, ranks
        self.dims: dict[str, int] = {}
        self.scales: dict[str, float] = {}
        self._seed, self._dtype = seed, dtype
        self._owned = len(range(ranks.rank, size, ranks.size))
        self.clear()

    def clear(self) -> None:
        """Forgets all rows: each is drawn anew."""
        self._places = _zeros(self._owned, dtype=torch.int32)  # 1 + the place of a row; 0: it is not drawn
        self._ids = _zeros(self._owned, dtype=torch.int64)  # by place
        self._rows = {name: _zeros(self._owned, dim, dtype=self._dtype) for name, dim in self.dims.items()}
        self._drawn = 0

    def add(self, name: str, dim: int, scale: float) -> None:
        """A table of `dim` columns, whose rows begin as `draw_rows` has it; at scale 0 with zeros."""
        if name not in self._rows:
            self.dims[name], self.scales[name] = dim, scale
            self._rows[name] = _zeros(self._owned, dim, dtype=self._dtype)

    def __len__(self) -> int:
        """The rows that are drawn."""
        return self._drawn

    def pull(self, ids: Tensor, names: list[str]) -> dict[str, Tensor]:
        """The rows of distinct `ids` from their owners, by table, shape (len(ids), dim). Every rank must call it."""
        self.ranks.wait()
        with self.ranks.timed("pull"):
            route = _Route(ids, self.ranks, self.vocabulary)
            places = self._places_of(route.asked)
            return {name: route.give_back(f"pull.{name}", self._rows[name][places]) for name in names}

    def push(self, ids: Tensor, moved: Mapping[str, Tensor], rate: float) -> None:
        """row += rate * mean of `moved` over the ranks that give the row. Every rank must call it.

        Args:
            ids: distinct. moved: by table, shape (len(ids), dim).
        """
        self.ranks.wait()
        with self.ranks.timed("push"):
            route = _Route(ids, self.ranks, self.vocabulary)
            places = self._places_of(route.asked)
            own, inverse, counts = torch.unique(places, return_inverse=True, return_counts=True)
            for name, rows in moved.items():
                total = torch.zeros(len(own), self.dims[name], dtype=self._dtype)
                total.index_add_(0, inverse, route.send(f"push.{name}", rows).to(self._dtype))
                self._rows[name].index_add_(0, own, total / counts.unsqueeze(1), alpha=rate)

    def state(self) -> dict[str, Tensor]:
        """The drawn rows, by table, and as "ids" their ids, ascending."""
        ids, order = self._ids[: self._drawn].sort()
        return {"ids": ids, **{name: rows[order] for name, rows in self._rows.items()}}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Takes from rows that any number of ranks saved those that are this rank's, in addition to those it has."""
        own = state["ids"] % self.ranks.size == self.ranks.rank
        places = self._places_of(state["ids"][own])
        for name, rows in state.items():
            if name != "ids":
                self.add(name, rows.shape[1], 0.0)
                self._rows[name][places] = rows[own].to(self._dtype)

    def _places_of(self, ids: Tensor) -> Tensor:
        """Where the rows of owned ids are; those that are new are drawn."""
        local = ids // self.ranks.size
        new = torch.unique(ids[self._places[local] == 0])
        if len(new):
            begin, self._drawn = self._drawn, self._drawn + len(new)
            self._ids[begin : self._drawn] = new
            self._places[new // self.ranks.size] = torch.arange(begin + 1, self._drawn + 1, dtype=torch.int32)
            for name, rows in self._rows.items():
                if self.scales[name]:
                    drawn = draw_rows(new.numpy(), self.dims[name], self.scales[name], table_key(self._seed, name))
                    rows[begin : self._drawn] = torch.from_numpy(drawn).to(self._dtype)
        return self._places[local].long() - 1


def table_key(seed: int, name: str) -> int:
    """The key of a table for `draw_rows`."""
    return int(hash_keys(seed, *name.encode()))


class _Route:
    """The way of rows between the rank that uses them and their owners.

    Attributes:
        asked: the ids that ranks have asked this one for, one rank after the other.
    """

    def __init__(self, ids: Tensor, ranks: Ranks, vocabulary: str) -> None:
        ids = ids.cpu()
        self._ranks, self._name = ranks, vocabulary
        owner = ids % ranks.size
        self._order = torch.argsort(owner, stable=True)
        self._splits = torch.bincount(owner, minlength=ranks.size)
        self.asked, self._asked_splits = ranks.exchange(f"{vocabulary}.ids", ids[self._order], self._splits)

    def send(self, name: str, rows: Tensor) -> Tensor:
        """Gives owners a row for each of `ids`; returns those for `asked`."""
        return self._ranks.exchange(f"{self._name}.{name}", rows.cpu()[self._order], self._splits)[0]

    def give_back(self, name: str, rows: Tensor) -> Tensor:
        """Gives a row for each of `asked`; returns those for `ids`."""
        found, _ = self._ranks.exchange(f"{self._name}.{name}", rows, self._asked_splits)
        result = torch.empty_like(found)
        result[self._order] = found
        return result


def _zeros(*shape: int, dtype: torch.dtype) -> Tensor:
    """Zeros that take no memory until they are written to."""
    return torch.from_numpy(np.zeros(shape, str(dtype).removeprefix("torch.")))
