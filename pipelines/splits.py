"""The split into train, val and test."""

import numpy as np

from training.hashing import hash_keys

SPLITS = np.array(["train", "val", "test"])


def split_rows(
    seed: int,
    shares: list[float],
    domains: np.ndarray,
    users: np.ndarray,
    items: np.ndarray,
    labels: np.ndarray,
) -> np.ndarray:
    """Splits the rows of each (domain, label) of a bucket by `shares`, in the order of a hash of (seed, row).

    Of n such rows, floor(n * share) go to val and to test and all others to train: where rows are too few for
    every split, train gets them first. Rows of one (domain, user, item) stand next to each other in that order.

    Args:
        shares: of train, val, test; they add up to 1.
        the others: shape (n,), in any order.

    Returns:
        int8, shape (n,): indices into SPLITS.
    """
    draws = hash_keys(seed, domains, users, items)
    order = np.lexsort((items, users, draws, labels, domains))
    same = np.ones(len(order), bool)
    for array in (labels, domains):
        same[1:] &= array[order][1:] == array[order][:-1]
    starts = np.flatnonzero(~same | (np.arange(len(order)) == 0))
    sizes = np.diff(np.append(starts, len(order)))
    rank = np.arange(len(order)) - np.repeat(starts, sizes)
    val, test = (np.repeat(np.floor(sizes * share + 1e-9).astype(np.int64), sizes) for share in shares[1:])
    size = np.repeat(sizes, sizes)
    result = np.empty(len(order), np.int8)
    result[order] = np.where(rank < size - val - test, 0, np.where(rank < size - test, 1, 2))
    return result
