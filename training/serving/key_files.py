"""Maps keys of users, items and domains to ids and features, in memory-mapped files.

Keys are divided into slices by CRC32, because Spark computes it, too. A slice is a file that is sorted by a hash of the
keys and does not store the keys themselves. So the hash must be unique: it is BLAKE2 with 128 bits, by which two of 84
million keys collide with a probability of 1e-23. (`training/hashing.py` hashes integers only, to 64 bits.)
"""

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from zlib import crc32

import numpy as np
import pyarrow as pa

from training.data.columns import Columns, to_array
from training.files.atomic_write import atomic_write
from training.serving.ranking import UNKNOWN

FILE = "{}of{}.arrow"  # the number of the slice, and how many slices there are
HASH, CHECK, ID = "hash", "check", "id"  # columns of a file: both halves of the hash, and the id


def key_digests(keys: Sequence[str]) -> np.ndarray:
    """Hashes keys to uint64, shape (keys, 2). Files are sorted by the first column."""
    digests = b"".join(blake2b(key.encode(), digest_size=16).digest() for key in keys)
    return np.frombuffer(digests, "<u8").reshape(-1, 2)


def slice_of(key: str, slices: int) -> int:
    """Returns the number of the slice that holds a key; equal to Spark's `crc32(key) % slices`."""
    return crc32(key.encode()) % slices


def write_slice(table: pa.Table, folder: Path, number: int, slices: int) -> None:
    """Writes the file of one slice.

    Args:
        table: the columns key, id and features; features are numbers, or lists of one length.
    """
    digests = key_digests(table["key"].to_pylist())
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    table = table.drop_columns("key").append_column(HASH, pa.array(digests[:, 0]))
    table = table.append_column(CHECK, pa.array(digests[:, 1])).take(pa.array(order)).combine_chunks()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE.format(number, slices)
    with atomic_write(path) as temporary, pa.ipc.new_file(temporary, table.schema) as file:
        file.write_table(table)


class KeyIndex:
    """Looks up keys in the slices of a folder. The files are memory-mapped, so opening them takes no memory."""

    def __init__(self, folder: Path) -> None:
        """Opens all slices.

        Raises:
            FileNotFoundError: a slice does not exist.
        """
        first = next(folder.glob(FILE.format(0, "*")), folder / FILE.format(0, 1))
        slices = int(first.stem.split("of")[1])
        self._slices = [_open(folder / FILE.format(number, slices)) for number in range(slices)]

    def look_up(self, keys: Sequence[str]) -> Columns:
        """Returns the id and the features of each key, of shapes (keys,) and (keys, length).

        The id of a key that is in no slice is UNKNOWN, and its features are 0.
        """
        slices = [self._slices[slice_of(key, len(self._slices))] for key in keys]
        rows = [_find(columns, *digest) for columns, digest in zip(slices, key_digests(keys), strict=True)]
        result = {}
        for name, column in self._slices[0].items():
            if name not in (HASH, CHECK):
                result[name] = np.full((len(keys), *column.shape[1:]), UNKNOWN if name == ID else 0, column.dtype)
                for index, (columns, row) in enumerate(zip(slices, rows, strict=True)):
                    if row is not None:
                        result[name][index] = columns[name][row]
        return result


def _open(path: Path) -> Columns:
    """Returns the columns of a file, memory-mapped."""
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    return {name: to_array(table[name].combine_chunks()) for name in table.column_names}


def _find(columns: Columns, key_hash: np.uint64, check: np.uint64) -> int | None:
    """Returns the row of a key; None if the slice does not have it."""
    begin, end = (int(np.searchsorted(columns[HASH], key_hash, side)) for side in ("left", "right"))
    matches = np.flatnonzero(columns[CHECK][begin:end] == check)
    return begin + int(matches[0]) if len(matches) else None
