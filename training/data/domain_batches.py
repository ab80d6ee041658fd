"""Samples batches of rows: shuffled over all domains, or domain by domain.

A walk is one pass over all domains in random order. It consists of units; a unit is a list of batches of one domain, or
a single batch of several small domains.
"""

from itertools import pairwise

import numpy as np

from training.data.patch import Patch


def shuffled_batches(rows: int, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Returns all row numbers in random order, in batches of `batch_size`; the last may be shorter."""
    return _cut(rng.permutation(rows), batch_size) if rows else []


def domain_walk(patch: Patch, batch_size: int, pack: bool, rng: np.random.Generator) -> list[list[np.ndarray]]:
    """Returns the units of a walk over the domains of `patch`, as lists of batches of row numbers.

    A domain of at least `batch_size` rows is a unit: its rows, shuffled, in batches that hold this domain only. Smaller
    domains are packed whole and in random order, several to a batch, and each such batch is a unit. Otherwise an
    optimiser step for the five rows of a small domain would cost as much as a full batch, and move the model as far.

    Args:
        pack: pack small domains; if False every domain is a unit, as in Algorithm 1.

    Example: for batch_size 4 and domains of 6, 1, 2 and 3 rows, the units may have [4, 2], [3] and [3] rows: two
    batches of the first domain, a batch of the second and third, and a batch of the fourth.
    """
    sizes = np.diff(patch.starts, append=patch.rows)
    small = (sizes < batch_size) & pack
    large_domains = zip(patch.starts[~small].tolist(), sizes[~small].tolist(), strict=True)
    units = [_cut(start + rng.permutation(size), batch_size) for start, size in large_domains]
    units += [[rows] for rows in _packs(patch.starts[small], sizes[small], batch_size, rng)]
    return [units[index] for index in rng.permutation(len(units))]


def _packs(starts: np.ndarray, sizes: np.ndarray, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Packs whole domains of fewer than `batch_size` rows, in random order, into batches of row numbers."""
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
