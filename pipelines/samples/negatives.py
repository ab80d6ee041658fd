"""Negative samples, drawn for all domains of a bucket at once."""

import numpy as np

from training.hashing import hash_keys, permute


def negative_counts(positives: np.ndarray, liked: np.ndarray, pool: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """How many negatives a user gets in a domain: int(positives / ratio), at most the items that remain.

    Args:
        positives: the user's rows in the domain; liked: the distinct items among them; pool: the domain's
            distinct items; ratio: the domain's CTR ratio. Shapes (n,).
    """
    return np.minimum((positives / ratio).astype(np.int64), pool - liked)


Rows = tuple[np.ndarray, np.ndarray, np.ndarray]  # domains, users, items: int64, shape (n,)
NO_ROWS: Rows = (np.empty(0, np.int64),) * 3


def draw_negatives(
    seed: int,
    domains: np.ndarray,
    users: np.ndarray,
    items: np.ndarray,
    ratios: np.ndarray,
    pools: dict,
    taken: Rows = NO_ROWS,
) -> Rows:
    """Draws negatives for the positives (domains, users, items): without replacement, never a positive.

    A user's negatives are the first that are no positives in a pseudo-random permutation of the domain's
    items, keyed by (seed, domain, user): neither the order of rows nor other users change them.

    Args:
        domains, users, items: int64, shape (n,): the positives; all of a user's rows in a domain are here.
        ratios: float64, shape (n,): the CTR ratio of the row's domain.
        pools: for each domain id its distinct items, sorted, int64.
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
    wanted = negative_counts(
        np.bincount(pair_of_row, minlength=len(pairs)), liked_counts, sizes[domain_index], ratio_of_pair
    )

    # Of the first wanted + liked entries of a permutation, at least `wanted` are no positives.
    candidates = np.where(wanted > 0, wanted + liked_counts, 0)
    pair = np.repeat(np.arange(len(pairs)), candidates)
    position = np.arange(len(pair)) - np.repeat(np.cumsum(candidates) - candidates, candidates)
    keys = hash_keys(seed, pairs[:, 0], pairs[:, 1])
    index = domain_index[pair]
    item = pool_items[starts[index] + permute(position, sizes[index], keys[pair])]

    free = ~_contains(liked, pair, item)
    pair, item = pair[free], item[free]
    first = np.searchsorted(pair, pair, side="left")
    kept = np.arange(len(pair)) - first < wanted[pair]
    pair, item = pair[kept], item[kept]
    return pairs[pair, 0], pairs[pair, 1], item


def _of_pairs(pairs: np.ndarray, domains: np.ndarray, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """(index of the pair, item) of the rows whose (domain, user) is one of `pairs`, sorted rows of shape (m, 2)."""
    if not len(items):
        return np.empty((0, 2), np.int64)
    both, index = np.unique(np.concatenate([pairs, np.stack([domains, users], axis=1)]), axis=0, return_inverse=True)
    place = np.full(len(both), -1)
    index = index.reshape(-1)
    place[index[: len(pairs)]] = np.arange(len(pairs))
    found = place[index[len(pairs) :]]
    return np.stack([found, items], axis=1)[found >= 0]


def _contains(liked: np.ndarray, pair: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Which (pair, item) are rows of `liked`, an array of shape (n, 2) sorted by row."""
    item_ids, inverse = np.unique(np.concatenate([liked[:, 1], item]), return_inverse=True)
    width = len(item_ids)
    known = liked[:, 0] * width + inverse[: len(liked)]
    return np.isin(pair * width + inverse[len(liked) :], known)
