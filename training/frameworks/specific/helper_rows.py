"""Holds the reservoir of rows from which DR draws helper batches."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from training.column_names import ROW_ORDER
from training.data.columns import Columns
from training.files.atomic_write import atomic_write
from training.hashing import hash_keys


@dataclass
class HelperRows:
    """Holds a few rows of each helper domain.

    Attributes:
        domain_ids: sorted, shape (n,).
        starts: the first row of each domain in `columns`, then the number of all rows, shape (n + 1,).
        columns: the rows, sorted by domain.
    """

    domain_ids: np.ndarray
    starts: np.ndarray
    columns: Columns

    @classmethod
    def of(cls, columns: Columns, most_rows: int, seed: int) -> "HelperRows":
        """Keeps `most_rows` rows of each domain, those with the smallest hash of (seed, row)."""
        hashes = hash_keys(seed, *(columns[name] for name in ROW_ORDER))
        order = np.lexsort((hashes, columns["domain_id"]))
        domains = columns["domain_id"][order]
        rank = np.arange(len(order)) - np.searchsorted(domains, domains)
        chosen = order[rank < most_rows]
        return cls._of_sorted({name: column[chosen] for name, column in columns.items()})

    def save(self, path: Path) -> None:
        """Writes the rows to a file."""
        with atomic_write(path) as temporary:
            save_file({name: np.ascontiguousarray(column) for name, column in self.columns.items()}, temporary)

    @classmethod
    def load(cls, path: Path) -> "HelperRows":
        """Reads the rows that `save` wrote."""
        return cls._of_sorted(load_file(path))

    @classmethod
    def _of_sorted(cls, columns: Columns) -> "HelperRows":
        domain_ids, starts = np.unique(columns["domain_id"], return_index=True)
        return cls(domain_ids, np.append(starts, len(columns["domain_id"])), columns)

    @property
    def widest(self) -> int:
        """Returns the largest number of rows of a domain."""
        return int(np.diff(self.starts).max())

    def draw(self, target: int, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draws the indices of `count` helper domains other than `target`, or of all others if they are fewer."""
        others = np.flatnonzero(self.domain_ids != target)
        return rng.choice(others, min(count, len(others)), replace=False)

    def rows_of(self, index: int) -> np.ndarray:
        """Returns the row numbers of the helper domain at `index`."""
        return np.arange(self.starts[index], self.starts[index + 1])


def choose_helper_domains(domain_ids: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Chooses the `most` helper domains with the smallest hash of (seed, id), or all if there are fewer."""
    return np.sort(domain_ids[np.argsort(hash_keys(seed, domain_ids), kind="stable")[:most]])
