"""Frozen user and item vectors: from the Delta tables that the config names into files with a row for each id.

The files are memory-mapped, so processes of one machine share them, and a table larger than memory can be read.
"""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from training.config import Config
from training.data.delta_files import column_files, open_table
from training.data.published_builds import published_versions
from training.errors import UserError
from training.files.atomic_write import atomic_write

ROWS = 1 << 18  # at a time


def load_vectors(config: Config) -> dict[str, Tensor]:
    """By feature the frozen table that the config names, float32, shape (ids, dim); a learned feature is absent.

    A table of vectors has the columns key (as in the log) and vector. An id whose key has none gets zeros.

    Raises:
        UserError: a table or a column is missing, vectors differ in length, or no key has one.
    """
    return {name: open_vectors(path) for name, path in align_vectors(config).items()}


def align_vectors(config: Config) -> dict[str, Path]:
    """By feature the file of its vectors under ROOT/vectors, made unless it is there. Raises as `load_vectors`."""
    paths = {"user_id": config.model.user_vectors, "item_id": config.model.item_vectors}
    keys = {"user_id": "users", "item_id": "items"}
    return {name: _align(name, path, keys[name], config) for name, path in paths.items() if path is not None}


def open_vectors(path: Path) -> Tensor:
    """The memory-mapped table in a file; what is written to it is not kept."""
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def _align(name: str, path: str, keys: str, config: Config) -> Path:
    versions = published_versions(config)[keys], open_table(path).version()
    folder = config.folder("vectors")
    source = f"{name}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"
    target = folder / f"{source}-{versions[0]}-{versions[1]}.npy"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as aside:
        _write(aside, path, config.table(keys), versions[0])
    for old in folder.glob(f"{source}-*.npy"):  # a model that reads it has a link of its own
        if old != target:
            old.unlink(missing_ok=True)
    return target


def _write(target: Path, path: str, keys_path: str, keys_version: int) -> None:
    """Writes the vectors at `path` in the order of the ids of the keys at `keys_path`, zeros where a key has none."""
    hashes, ids = _hashed_keys(keys_path, keys_version)
    table, written = None, np.zeros(len(ids), bool)
    for keys, vectors in _read(path, "vector"):
        lengths = vectors.value_lengths()
        if table is None:
            table = open_memmap(target, mode="w+", dtype=np.float32, shape=(len(ids), lengths[0].as_py()))
        if pc.any(pc.not_equal(lengths, table.shape[1])).as_py():
            raise UserError(f"table {path}: all vectors must have one length, and there must be at least one")
        wanted = _hash(keys)
        place = np.minimum(np.searchsorted(hashes, wanted), len(hashes) - 1)
        known = hashes[place] == wanted
        rows = ids[place[known]]
        table[rows] = vectors.flatten().to_numpy().reshape(len(vectors), -1)[known]
        written[rows] = True
    if not written.any():
        raise UserError(f"table {path} has a vector for none of the {len(ids)} keys in {keys_path}")
    table.flush()
    if not written.all():
        print(f"{(~written).sum()} of {len(ids)} keys have no vector in {path}: zeros", file=sys.stderr)


def _hashed_keys(path: str, version: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the keys in a table (key, id), sorted, and the ids of those keys."""
    parts = [(_hash(keys), ids.to_numpy()) for keys, ids in _read(path, "id", version)]
    hashes, ids = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(hashes)
    hashes = hashes[order]
    if (hashes[1:] == hashes[:-1]).any():
        raise RuntimeError(f"two keys in {path} have one hash of 64 bits")
    return hashes, ids[order]


def _read(path: str, column: str, version: int | None = None) -> Iterator[tuple[pa.Array, pa.Array]]:
    """The columns key and `column` of a Delta table, some rows at a time."""
    for file in column_files(path, ["key", column], version=version):
        for batch in pq.ParquetFile(file).iter_batches(ROWS, columns=["key", column]):
            yield batch.column("key"), batch.column(column)


def _hash(keys: pa.Array) -> np.ndarray:
    return pd.util.hash_array(keys.cast(pa.string()).to_numpy(zero_copy_only=False), categorize=False)
