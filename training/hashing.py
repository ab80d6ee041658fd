"""Random numbers by hashing: the same keys give the same draw, whatever the order or the partition.

All functions work on uint64 arrays that broadcast against each other, and wrap around at 2^64.
"""

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
ROUNDS = 10


def mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a bijection of uint64."""
    values = values ^ (values >> np.uint64(30))
    values = values * np.uint64(0xBF58476D1CE4E5B9)
    values = values ^ (values >> np.uint64(27))
    values = values * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def hash_keys(*keys: np.ndarray | int) -> np.ndarray:
    """One uint64 for each combination of integer `keys`."""
    with np.errstate(over="ignore"):
        result = np.uint64(0)
        for key in keys:
            result = mix((result ^ np.asarray(key).astype(np.uint64)) + _GOLDEN)
    return result


def permute(positions: np.ndarray, sizes: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Where keyed pseudo-random permutations of range(size) send `positions`.

    A Feistel network permutes the next larger power of four; a value outside range(size) is sent on until it
    falls inside (Black and Rogaway, CT-RSA 2002). Ten rounds, as in NIST's FF1: after four, some pairs of a
    small range came out together twice as often as they should.

    Args:
        positions, sizes, keys: integers, shape (n,); 0 <= position < size, size up to 2^62.

    Returns:
        int64, shape (n,). Equal sizes and keys with distinct positions give distinct values.
    """
    positions, sizes, keys = (np.asarray(array).astype(np.uint64) for array in (positions, sizes, keys))
    one = np.uint64(1)
    half = np.zeros(len(sizes), np.uint64)
    while np.any(short := (one << (half + half)) < sizes):
        half = half + short.astype(np.uint64)
    result = positions.copy()
    walking = np.arange(len(positions))
    while len(walking):
        result[walking] = _feistel(result[walking], half[walking], keys[walking])
        walking = walking[result[walking] >= sizes[walking]]
    return result.astype(np.int64)


def _feistel(values: np.ndarray, half: np.ndarray, keys: np.ndarray) -> np.ndarray:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = values >> half, values & mask
    for turn in range(ROUNDS):
        left, right = right, left ^ (hash_keys(keys, right, turn) & mask)
    return (left << half) | right
