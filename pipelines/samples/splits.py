"""Splits samples into train, val and test."""

import numpy as np

from training.hashing import hash_keys

SPLITS = np.array(["train", "val", "test"])
OPEN = -1  # the split of a row that has none yet


def split_rows(
    seed: int,
    shares: list[float],
    domains: np.ndarray,
    users: np.ndarray,
    items: np.ndarray,
    labels: np.ndarray,
    given: np.ndarray | None = None,
) -> np.ndarray:
    """Splits the rows of each (domain, label) by `shares`, in the order of a hash of (seed, row).

    Of n such rows, floor(n * share) go to val and to test, and all others to train. If there are too few rows for
    every split, train gets them first. Rows of one (domain, user, item) are adjacent in that order.

    Rows that have a split keep it, and the open rows fill val and test up to those numbers. Example: 10 rows, of which
    6 are in train, 2 in val and 1 in test; with shares .6, .2, .2 the open row goes to test.

    Args:
        shares: of train, val and test; they add up to 1.
        domains, users, items, labels: shape (n,), in any order.
        given: int8, shape (n,): indices into SPLITS, or OPEN; if absent, all rows are open.

    Returns:
        int8, shape (n,): indices into SPLITS.
    """
    given = np.full(len(domains), OPEN, np.int8) if given is None else given
    draws = hash_keys(seed, domains, users, items)
    group = domains.astype(np.int64) * 2 + (labels > 0)
    by_draw = np.argsort(draws)
    order = by_draw[np.argsort((group * 2 + (given != OPEN))[by_draw], kind="stable")]  # takes half as long as lexsort
    if np.any(np.diff(draws[order]) == 0):  # samples of one pair, or two pairs with the same hash
        order = np.lexsort((items, users, draws, group * 2 + (given != OPEN)))
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    sizes = np.diff(np.append(starts, len(order)))
    rank = np.arange(len(order)) - np.repeat(starts, sizes)
    free, val, test = (_count_by_group(given[order] == split, starts) for split in (OPEN, 1, 2))
    val_quota, test_quota = (np.floor(sizes * share + 1e-9).astype(np.int64) for share in shares[1:])
    test = np.clip(test_quota - test, 0, free)
    val = np.clip(val_quota - val, 0, free - test)
    free, val, test = (np.repeat(count, sizes) for count in (free, val, test))
    drawn = np.where(rank < free - val - test, 0, np.where(rank < free - test, 1, 2))
    result = given.copy()
    result[order] = np.where(given[order] == OPEN, drawn, given[order])
    return result


def _count_by_group(mask: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Counts the true values of each group of rows; group i begins at starts[i]."""
    return np.add.reduceat(mask, starts, dtype=np.int64) if len(starts) else np.zeros(0, np.int64)
