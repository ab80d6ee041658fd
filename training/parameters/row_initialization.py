"""Draws initial values of embedding rows by hashing, so that they do not depend on which rank draws them."""

import numpy as np
from scipy.special import ndtri

from training.hashing import hash_keys


def draw_rows(ids: np.ndarray, dim: int, scale: float, key: int) -> np.ndarray:
    """Draws the initial rows of `ids` from a normal distribution with standard deviation `scale`.

    Every value depends on (key, id, column) alone.

    Returns:
        float32, shape (len(ids), dim).
    """
    bits = hash_keys(key, ids[:, None], np.arange(dim)) >> np.uint64(11)
    return (ndtri((bits + 0.5) / 2.0**53) * scale).astype(np.float32)


def table_key(seed: int, name: str) -> int:
    """Returns the key that `draw_rows` uses for the table `name`."""
    return int(hash_keys(seed, *name.encode()))
