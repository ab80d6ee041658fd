"""Ids and features of users or items by their keys, in memory-mapped files: any number of keys costs no memory.

A file holds the keys of one slice, sorted by a hash of 128 bits. Two of 84 million keys share one with a chance of
1e-23.
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

FILE = "{}of{}.arrow"
HASH, CHECK, ID = "hash", "check", "id"


def key_digests(keys: Sequence[str]) -> np.ndarray:
    """uint64, shape (keys, 2): the first part is what keys are sorted by."""
    digests = b"".join(blake2b(key.encode(), digest_size=16).digest() for key in keys)
    return np.frombuffer(digests, "<u8").reshape(-1, 2)


def slice_of(key: str, slices: int) -> int:
    """In which slice a key is, as Spark's crc32 says."""
    return crc32(key.encode()) % slices


def write_slice(table: pa.Table, folder: Path, number: int, slices: int) -> None:
    """Writes the keys of one slice.

    Args:
        table: key, id and features, as numbers or lists of one length.
    """
    hashes = key_digests(table["key"].to_pylist())
    order = np.lexsort((hashes[:, 1], hashes[:, 0]))
    table = table.drop_columns("key").append_column(HASH, pa.array(hashes[:, 0]))
    table = table.append_column(CHECK, pa.array(hashes[:, 1])).take(pa.array(order)).combine_chunks()
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / FILE.format(number, slices)) as aside, pa.ipc.new_file(aside, table.schema) as file:
        file.write_table(table)


class KeyIndex:
    """The keys that a folder holds."""

    def __init__(self, folder: Path) -> None:
        """Raises FileNotFoundError if a slice is missing."""
        first = next(folder.glob(FILE.format(0, "*")), folder / FILE.format(0, 1))
        slices = int(first.stem.split("of")[1])
        self._slices = [_open(folder / FILE.format(number, slices)) for number in range(slices)]

    def look_up(self, keys: Sequence[str]) -> Columns:
        """The id and features of each key, shapes (keys,) and (keys, length); UNKNOWN and zeros if it is not known."""
        slices = [slice_of(key, len(self._slices)) for key in keys]
        places = [_find(self._slices[part], *pair) for part, pair in zip(slices, key_digests(keys), strict=True)]
        found = {}
        for name, column in self._slices[0].items():
            if name not in (HASH, CHECK):
                found[name] = np.full((len(keys), *column.shape[1:]), UNKNOWN if name == ID else 0, column.dtype)
                for row, (part, place) in enumerate(zip(slices, places, strict=True)):
                    if place is not None:
                        found[name][row] = self._slices[part][name][place]
        return found


def _open(path: Path) -> Columns:
    """The columns of a file, memory-mapped."""
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    return {name: to_array(table[name].combine_chunks()) for name in table.column_names}


def _find(columns: Columns, key_hash: np.uint64, check: np.uint64) -> int | None:
    """The row of a key; None if it is not there."""
    begin, end = (int(np.searchsorted(columns[HASH], key_hash, side)) for side in ("left", "right"))
    matches = np.flatnonzero(columns[CHECK][begin:end] == check)
    return begin + int(matches[0]) if len(matches) else None
