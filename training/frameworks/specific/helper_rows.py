"""The reservoir of rows that DR draws helper batches from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from training.data.columns import Columns
from training.files.atomic_write import atomic_write
from training.hashing import hash_keys


@dataclass
class HelperRows:
    """A few rows of each of some domains.

    Attributes:
        domain_ids: sorted, shape (n,).
        starts: where each domain's rows start in `columns`, and their number at the end, shape (n + 1,).
        columns: the rows, sorted by domain.
    """

    domain_ids: np.ndarray
    starts: np.ndarray
    columns: Columns

    @classmethod
    def of(cls, columns: Columns, most_rows: int, seed: int) -> "HelperRows":
        """Keeps of each domain the `most_rows` rows with the smallest hash of (seed, row)."""
        draws = hash_keys(seed, *(columns[name] for name in ("domain_id", "user_id", "item_id", "label")))
        order = np.lexsort((draws, columns["domain_id"]))
        domains = columns["domain_id"][order]
        rank = np.arange(len(order)) - np.searchsorted(domains, domains)
        kept = order[rank < most_rows]
        rows = {name: column[kept] for name, column in columns.items()}
        domain_ids, starts = np.unique(rows["domain_id"], return_index=True)
        return cls(domain_ids, np.append(starts, len(kept)), rows)

    def save(self, path: Path) -> None:
        with atomic_write(path) as aside:
            save_file({name: np.ascontiguousarray(column) for name, column in self.columns.items()}, aside)

    @classmethod
    def load(cls, path: Path) -> "HelperRows":
        columns = load_file(path)
        domain_ids, starts = np.unique(columns["domain_id"], return_index=True)
        return cls(domain_ids, np.append(starts, len(columns["domain_id"])), columns)

    @property
    def widest(self) -> int:
        """The rows of the domain with the most."""
        return int(np.diff(self.starts).max())

    def draw(self, target: int, count: int, rng: np.random.Generator) -> np.ndarray:
        """Places of `count` domains other than `target`, without replacement; all others if they are fewer."""
        places = np.flatnonzero(self.domain_ids != target)
        return rng.choice(places, min(count, len(places)), replace=False)

    def rows_of(self, place: int) -> np.ndarray:
        return np.arange(self.starts[place], self.starts[place + 1])


def choose_helper_domains(domain_ids: np.ndarray, most: int, seed: int) -> np.ndarray:
    """The domains of the reservoir: all of them, or the `most` with the smallest hash of (seed, id)."""
    return np.sort(domain_ids[np.argsort(hash_keys(seed, domain_ids), kind="stable")[:most]])
