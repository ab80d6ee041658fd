"""Domain-bucketed sampling: batches that are pure in a domain, or in a pack of small domains."""

from itertools import pairwise

import numpy as np

from training.data.patch import Patch


def shuffled_batches(rows: int, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """All row numbers in random order, in batches of `batch_size`; the last may be shorter."""
    return _cut(rng.permutation(rows), batch_size) if rows else []


def domain_walk(patch: Patch, batch_size: int, pack: bool, rng: np.random.Generator) -> list[list[np.ndarray]]:
    """The units of a walk over domains in random order, each a list of batches (row numbers).

    A domain of at least `batch_size` rows is a unit: its rows, shuffled, in batches pure in that domain. Smaller
    domains are packed whole, in random order, several to one batch, which is a unit too: an optimiser step for
    the five rows of a small domain costs as much as one for a full batch, and moves the model as far. With
    `pack` off every domain is a unit of its own, as Algorithm 1 has it.

    Example, batch_size 4, domains of 6, 1, 2 and 3 rows: units [4 + 2 rows of the first], [1 + 2 rows], [3 rows].
    """
    sizes = np.diff(patch.starts, append=patch.rows)
    small = (sizes < batch_size) & pack
    own = zip(patch.starts[~small].tolist(), sizes[~small].tolist(), strict=True)
    units = [_cut(start + rng.permutation(size), batch_size) for start, size in own]
    units += [[rows] for rows in _packs(patch.starts[small], sizes[small], batch_size, rng)]
    return [units[index] for index in rng.permutation(len(units))]


def _packs(starts: np.ndarray, sizes: np.ndarray, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """The row numbers of domains of fewer than `batch_size` rows, whole and in random order, by batch."""
    order = rng.permutation(len(sizes))
    ends = np.cumsum(sizes[order])
    rows = np.repeat(starts[order] + sizes[order] - ends, sizes[order]) + np.arange(sizes.sum())
    cuts = [0]
    while cuts[-1] < len(rows):
        fitting = np.searchsorted(ends, cuts[-1] + batch_size, side="right")
        cuts.append(int(ends[fitting - 1]))
    return [rows[begin:end] for begin, end in pairwise(cuts)]


def _cut(rows: np.ndarray, batch_size: int) -> list[np.ndarray]:
    return np.split(rows, range(batch_size, len(rows), batch_size))
