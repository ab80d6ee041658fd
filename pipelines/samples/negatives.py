"""Draws negative samples, for all domains of a bucket at once.

The plan of a build counts negatives in Spark before any is drawn, so the rule for their number is written twice, side
by side: `negative_count_column` for the plan, `negative_counts` for the sampler. A test holds the two equal.
"""

import numpy as np
from pyspark.sql import Column
from pyspark.sql import functions as F

from training.hashing import hash_keys, permute


def negative_count_column(positives: Column, liked: Column, pool: Column, ratio: Column) -> Column:
    """Returns the number of negatives of a user in a domain as a Spark column; see `negative_counts`."""
    return F.least(F.floor(positives / ratio), pool - liked)


def negative_counts(positives: np.ndarray, liked: np.ndarray, pool: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Returns the number of negatives of a user in a domain: int(positives / ratio), at most the items that remain.

    >>> negative_counts(np.array([1, 3]), np.array([1, 2]), np.array([10, 4]), np.array([0.5, 0.5]))
    array([2, 2])

    Args:
        positives: the user's rows in the domain, shape (n,).
        liked: the distinct items among them, shape (n,).
        pool: the distinct items of the domain, shape (n,).
        ratio: the CTR ratio of the domain, shape (n,).
    """
    return np.minimum((positives / ratio).astype(np.int64), pool - liked)


Rows = tuple[np.ndarray, np.ndarray, np.ndarray]  # domains, users, items: int64, shape (n,)
NO_ROWS: Rows = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64))


def draw_negatives(
    seed: int,
    domains: np.ndarray,
    users: np.ndarray,
    items: np.ndarray,
    ratios: np.ndarray,
    pools: dict[int, np.ndarray],
    taken: Rows = NO_ROWS,
) -> Rows:
    """Draws negatives for the positives (domains, users, items): without replacement, never a positive.

    A user's negatives are the first non-positives in a pseudo-random permutation of the domain's items, keyed by
    (seed, domain, user). Neither the order of rows nor other users change them.

    Args:
        domains, users, items: int64, shape (n,): the positives. All rows of a user in a domain are among them.
        ratios: float64, shape (n,): the CTR ratio of the row's domain.
        pools: by domain id, the distinct items of the domain, sorted, int64.
        taken: further rows (domains, users, items) that must not be drawn.

    Returns:
        (domains, users, items) of the negatives, int64, shape (m,).
    """
    pairs, pair_of_row = np.unique(np.stack([domains, users], axis=1), axis=0, return_inverse=True)
    pair_of_row = pair_of_row.reshape(-1)
    liked = np.unique(np.concatenate([np.stack([pair_of_row, items], axis=1), _of_pairs(pairs, *taken)]), axis=0)
    liked_counts = np.bincount(liked[:, 0], minlength=len(pairs))
    ratio_of_pair = np.empty(len(pairs))
    ratio_of_pair[pair_of_row] = ratios
    pool_ids, domain_index = np.unique(pairs[:, 0], return_inverse=True)
    sizes = np.array([len(pools[domain]) for domain in pool_ids.tolist()], np.int64)
    starts = np.cumsum(sizes) - sizes
    pool_items = np.concatenate([np.empty(0, np.int64), *(pools[domain] for domain in pool_ids.tolist())])
    counts = negative_counts(
        np.bincount(pair_of_row, minlength=len(pairs)), liked_counts, sizes[domain_index], ratio_of_pair
    )

    # Of the first counts + liked entries of a permutation, at least `counts` are no positives.
    candidates = np.where(counts > 0, counts + liked_counts, 0)
    pair = np.repeat(np.arange(len(pairs)), candidates)
    position = np.arange(len(pair)) - np.repeat(np.cumsum(candidates) - candidates, candidates)
    keys = hash_keys(seed, pairs[:, 0], pairs[:, 1])
    index = domain_index[pair]
    item = pool_items[starts[index] + permute(position, sizes[index], keys[pair])]

    free = ~_contains(liked, pair, item)
    pair, item = pair[free], item[free]
    first = np.searchsorted(pair, pair, side="left")
    drawn = np.arange(len(pair)) - first < counts[pair]
    pair, item = pair[drawn], item[drawn]
    return pairs[pair, 0], pairs[pair, 1], item


def _of_pairs(pairs: np.ndarray, domains: np.ndarray, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Returns (index into the sorted `pairs`, item), shape (m, 2), of the rows whose (domain, user) is among them."""
    if not len(items):
        return np.empty((0, 2), np.int64)
    all_pairs, inverse = np.unique(
        np.concatenate([pairs, np.stack([domains, users], axis=1)]), axis=0, return_inverse=True
    )
    inverse = inverse.reshape(-1)
    index_in_pairs = np.full(len(all_pairs), -1)
    index_in_pairs[inverse[: len(pairs)]] = np.arange(len(pairs))
    pair_of_row = index_in_pairs[inverse[len(pairs) :]]
    return np.stack([pair_of_row, items], axis=1)[pair_of_row >= 0]


def _contains(liked: np.ndarray, pair: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Returns a mask of the (pair, item) that are rows of `liked`, an array of shape (n, 2) sorted by row."""
    item_ids, inverse = np.unique(np.concatenate([liked[:, 1], item]), return_inverse=True)
    width = len(item_ids)
    liked_codes = liked[:, 0] * width + inverse[: len(liked)]
    return np.isin(pair * width + inverse[len(liked) :], liked_codes)
