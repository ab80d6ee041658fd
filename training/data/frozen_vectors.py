"""Converts Delta tables of user and item vectors to files with one row for each id. Models never train these vectors.

The files are memory-mapped. So the processes of a machine share them, and a table may be larger than memory.

A vector belongs to a key of the log, a string. Keys are matched by pandas' 64-bit hashes, because pandas hashes a whole
column of strings at once (`training/hashing.py` hashes integers only). The hashes are never stored, and equal hashes of
two keys are an error.
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

BATCH_ROWS = 1 << 18  # read at a time


def load_vectors(config: Config) -> dict[str, Tensor]:
    """Returns the vectors of each feature for which the config names a table: float32, shape (ids, dim).

    The table has the columns key (as in the log) and vector. An id without a vector gets zeros.

    Raises:
        UserError: a table or a column does not exist, vectors differ in length, or no key has a vector.
    """
    return {name: open_vectors(path) for name, path in align_vectors(config).items()}


def align_vectors(config: Config) -> dict[str, Path]:
    """Writes the vectors of `load_vectors` to ROOT/vectors and returns the file of each feature.

    A file that exists for the same versions of the tables is not written again. Raises what `load_vectors` raises.
    """
    paths = {"user_id": config.model.user_vectors, "item_id": config.model.item_vectors}
    keys = {"user_id": "users", "item_id": "items"}
    return {name: _align(name, path, keys[name], config) for name, path in paths.items() if path is not None}


def open_vectors(path: Path) -> Tensor:
    """Opens a file of vectors, memory-mapped; writing to the tensor does not change the file."""
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def _align(name: str, path: str, keys: str, config: Config) -> Path:
    """Returns the file of one feature; writes it unless it exists for these versions of the vectors and the keys."""
    versions = published_versions(config)[keys], open_table(path).version()
    folder = config.folder("vectors")
    source = f"{name}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"
    target = folder / f"{source}-{versions[0]}-{versions[1]}.npy"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as temporary:
        _write(temporary, path, config.table(keys), versions[0])
    for old in folder.glob(f"{source}-*.npy"):  # models that use it have their own hard link
        if old != target:
            old.unlink(missing_ok=True)
    return target


def _write(target: Path, path: str, keys_path: str, keys_version: int) -> None:
    """Writes the vectors of the table at `path` in the order of ids, and zeros for keys without a vector."""
    hashes, ids = _hashed_keys(keys_path, keys_version)
    table: np.memmap | None = None
    written = np.zeros(len(ids), bool)
    for keys, vectors in _read(path, "vector"):
        lengths = vectors.value_lengths()
        if table is None:
            table = open_memmap(target, mode="w+", dtype=np.float32, shape=(len(ids), lengths[0].as_py()))
        if pc.any(pc.not_equal(lengths, table.shape[1])).as_py():
            raise UserError(f"table {path}: all vectors must have one length; the first has {table.shape[1]} values")
        key_hashes = _hash_strings(keys)
        index = np.minimum(np.searchsorted(hashes, key_hashes), len(hashes) - 1)
        matches = hashes[index] == key_hashes
        rows = ids[index[matches]]
        table[rows] = vectors.flatten().to_numpy().reshape(len(vectors), -1)[matches]
        written[rows] = True
    if table is None or not written.any():
        raise UserError(
            f"table {path} has a vector for none of the {len(ids)} keys in {keys_path}: its column key must hold keys "
            "as they are in the log"
        )
    table.flush()
    if not written.all():
        print(f"{(~written).sum()} of {len(ids)} keys have no vector in {path} and get zeros", file=sys.stderr)


def _hashed_keys(path: str, version: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sorted hashes of the keys in a table with the columns key and id, and the ids in the same order."""
    batches = [(_hash_strings(keys), ids.to_numpy()) for keys, ids in _read(path, "id", version)]
    hashes, ids = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    order = np.argsort(hashes)
    hashes = hashes[order]
    if (hashes[1:] == hashes[:-1]).any():
        raise RuntimeError(f"two keys in {path} have the same hash of 64 bits")
    return hashes, ids[order]


def _read(path: str, column: str, version: int | None = None) -> Iterator[tuple[pa.Array, pa.Array]]:
    """Reads the columns key and `column` of a Delta table in batches."""
    for file in column_files(path, ["key", column], version=version):
        for batch in pq.ParquetFile(file).iter_batches(BATCH_ROWS, columns=["key", column]):
            yield batch.column("key"), batch.column(column)


def _hash_strings(keys: pa.Array) -> np.ndarray:
    return pd.util.hash_array(keys.cast(pa.string()).to_numpy(zero_copy_only=False), categorize=False)
