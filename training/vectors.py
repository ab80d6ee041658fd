"""Frozen user and item vectors, from the Delta tables that the config names."""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from training.config import Config
from training.errors import UserError
from training.snapshot import read_columns


def load_vectors(config: Config) -> dict[str, Tensor]:
    """By feature the frozen table that the config names, float32, shape (ids, dim); a learned feature is absent.

    A table of vectors has the columns key (as in the log) and vector. An id whose key has none gets zeros.

    Raises:
        UserError: a table or a column is missing, vectors differ in length, or no key has one.
    """
    paths = {"user_id": config.model.user_vectors, "item_id": config.model.item_vectors}
    keys = {"user_id": config.table("users"), "item_id": config.table("items")}
    return {name: _load(path, keys[name]) for name, path in paths.items() if path is not None}


def _load(path: str, keys_path: str) -> Tensor:
    ids = read_columns(keys_path, ["key", "id"])
    found = read_columns(path, ["key", "vector"])
    if len({len(vector) for vector in found["vector"]}) != 1:
        raise UserError(f"table {path}: all vectors must have one length, and there must be at least one")
    vectors = np.stack(found["vector"]).astype(np.float32)
    place = pc.index_in(pa.array(ids["key"], pa.string()), pa.array([str(key) for key in found["key"]], pa.string()))
    known = place.is_valid().to_numpy(zero_copy_only=False)
    if not known.any():
        raise UserError(f"table {path} has a vector for none of the {len(known)} keys in {keys_path}")
    if not known.all():
        print(f"{(~known).sum()} of {len(known)} keys have no vector in {path}: zeros", file=sys.stderr)
    table = np.zeros((len(known), vectors.shape[1]), np.float32)
    table[ids["id"][known]] = vectors[place.drop_null().to_numpy()]
    return torch.from_numpy(table)
