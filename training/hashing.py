"""Draws random numbers by hashing integers: equal keys give equal draws in any order and any partition of the rows.

The hash is SplitMix64, because it takes a few vectorised operations for each element: millions of draws take a second.
It hashes integers only, such as seeds and ids. Keys of the log are strings and need other hashes.

All functions work on uint64 arrays that broadcast against each other. Arithmetic wraps around at 2^64.
"""

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ONE = np.uint64(1)
ROUNDS = 10  # of the Feistel network


def mix(values: np.ndarray) -> np.ndarray:
    """Applies the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), a bijection of uint64."""
    values = values ^ (values >> np.uint64(30))
    values = values * np.uint64(0xBF58476D1CE4E5B9)
    values = values ^ (values >> np.uint64(27))
    values = values * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def hash_keys(*keys: np.ndarray | int) -> np.ndarray:
    """Hashes each combination of integer `keys` to a uint64; the order of the keys matters.

    >>> hash_keys(7, np.array([3, 4])).tolist() == [hash_keys(7, 3), hash_keys(7, 4)]
    True
    """
    with np.errstate(over="ignore"):
        result = np.asarray(np.uint64(0))
        for key in keys:
            result = mix((result ^ np.asarray(key).astype(np.uint64)) + _GOLDEN)
    return result


def permute(positions: np.ndarray, sizes: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Maps each position to another one by a pseudo-random permutation of range(size) that its key selects.

    A Feistel network permutes a power of four that is at least the size. It is applied again to a value outside
    range(size) until the value falls inside ("cycle walking", Black and Rogaway, CT-RSA 2002). There are ten rounds, as
    in NIST's FF1: with four, some pairs of a small range occurred together twice as often as they should.

    Args:
        positions, sizes, keys: integers, shape (n,); 0 <= position < size <= 2^62.

    Returns:
        int64, shape (n,). Distinct positions with equal sizes and keys give distinct values.

    >>> sorted(permute(np.arange(5), np.full(5, 5), np.full(5, 42)).tolist())
    [0, 1, 2, 3, 4]
    """
    positions, sizes, keys = (np.asarray(array).astype(np.uint64) for array in (positions, sizes, keys))
    half_bits = np.zeros(len(sizes), np.uint64)
    while np.any(too_few := (_ONE << (half_bits + half_bits)) < sizes):
        half_bits = half_bits + too_few.astype(np.uint64)
    result = positions.copy()
    outside = np.arange(len(positions))
    while len(outside):
        result[outside] = _feistel(result[outside], half_bits[outside], keys[outside])
        outside = outside[result[outside] >= sizes[outside]]
    return result.astype(np.int64)


def _feistel(values: np.ndarray, half_bits: np.ndarray, keys: np.ndarray) -> np.ndarray:
    mask = (_ONE << half_bits) - _ONE
    left, right = values >> half_bits, values & mask
    for number in range(ROUNDS):
        left, right = right, left ^ (hash_keys(keys, right, number) & mask)
    return (left << half_bits) | right
