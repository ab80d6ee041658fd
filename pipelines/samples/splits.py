"""The split into train, val and test."""

import numpy as np

from training.hashing import hash_keys

SPLITS = np.array(["train", "val", "test"])
OPEN = -1  # of a row that has no split yet


def split_rows(
    seed: int,
    shares: list[float],
    domains: np.ndarray,
    users: np.ndarray,
    items: np.ndarray,
    labels: np.ndarray,
    given: np.ndarray | None = None,
) -> np.ndarray:
    """Splits the rows of each (domain, label) of a bucket by `shares`, in the order of a hash of (seed, row).

    Of n such rows, floor(n * share) go to val and to test and all others to train: where rows are too few for
    every split, train gets them first. Rows of one (domain, user, item) stand next to each other in that order.

    Rows that have a split keep it, and the others fill up val and test to those numbers. Of 10 rows, of which 6 are in
    train, 2 in val and 1 in test, the open one goes to test.

    Args:
        shares: of train, val, test; they add up to 1.
        given: int8, indices into SPLITS or OPEN; absent: all are open.
        the others: shape (n,), in any order.

    Returns:
        int8, shape (n,): indices into SPLITS.
    """
    given = np.full(len(domains), OPEN, np.int8) if given is None else given
    draws = hash_keys(seed, domains, users, items)
    group = domains.astype(np.int64) * 2 + (labels > 0)
    by_draw = np.argsort(draws)
    order = by_draw[np.argsort((group * 2 + (given != OPEN))[by_draw], kind="stable")]  # half a lexsort's time
    if np.any(np.diff(draws[order]) == 0):  # samples of one pair, or two pairs of one hash
        order = np.lexsort((items, users, draws, group * 2 + (given != OPEN)))
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    sizes = np.diff(np.append(starts, len(order)))
    rank = np.arange(len(order)) - np.repeat(starts, sizes)
    free, val, test = (_count(given[order] == split, starts) for split in (OPEN, 1, 2))
    wanted_val, wanted_test = (np.floor(sizes * share + 1e-9).astype(np.int64) for share in shares[1:])
    test = np.clip(wanted_test - test, 0, free)
    val = np.clip(wanted_val - val, 0, free - test)
    free, val, test = (np.repeat(count, sizes) for count in (free, val, test))
    drawn = np.where(rank < free - val - test, 0, np.where(rank < free - test, 1, 2))
    result = given.copy()
    result[order] = np.where(given[order] == OPEN, drawn, given[order])
    return result


def _count(holds: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """How many hold of each group of rows that starts at `starts`."""
    return np.add.reduceat(holds, starts, dtype=np.int64) if len(starts) else np.zeros(0, np.int64)
