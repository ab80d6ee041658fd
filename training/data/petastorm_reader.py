"""The feed: which rank reads which buckets, and the reading itself, by Petastorm."""

import warnings
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from petastorm.arrow_reader_worker import ArrowReaderWorker
from petastorm.cache import NullCache
from petastorm.fs_utils import get_filesystem_and_path_or_paths
from petastorm.reader import Reader
from petastorm.workers_pool.thread_pool import ThreadPool

from training.column_names import ROW_ORDER
from training.data.columns import Columns
from training.data.snapshot import DataFile, Snapshot
from training.errors import UserError
from training.files.object_store import fetch

# Petastorm 0.13 is written for an older pyarrow, which the locked one still serves, with a warning a call.
warnings.filterwarnings("ignore", category=FutureWarning, module="petastorm")


class CompleteThreadPool(ThreadPool):
    """Petastorm's thread pool, without its loss of row groups.

    `ThreadPool.get_results` ends when all workers are done and then the ventilator is completed. The ventilator can
    hand out its last items between the two looks, and those are lost without an error. Here the ventilator is
    looked at first: once it is completed it stays so, and "all workers done" then means all of the work.
    """

    def all_workers_done(self) -> bool:
        handed_out = self._ventilator is None or self._ventilator.completed()
        return handed_out and super().all_workers_done()


class QuietReader(Reader):
    """Petastorm's reader, whose clean-up prints on stdout, where only the summary belongs; no cache, nothing to do."""

    def cleanup_cache(self) -> None:
        pass


def read_buckets(snapshot: Snapshot, split: str, buckets: Sequence[int] | None = None) -> Columns:
    """The rows of some buckets of `split`, or of all, with the columns of the schema; else as `read_rows`."""
    buckets = snapshot.rows_by_bucket(split) if buckets is None else buckets
    return read_rows(snapshot.of(split, list(buckets)), snapshot.schema.columns)


def read_rows(files: Sequence[DataFile], columns: Sequence[str] = ROW_ORDER) -> Columns:
    """Reads some files of a snapshot whole, sorted by domain_id, user_id, item_id, label.

    Raises:
        UserError: a file lacks a column, or has another type for it than the first file.
        RuntimeError: the rows read are not the rows listed.
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in columns}
    if files:
        paths = [str(fetch(file.path)) for file in files]
        _refuse_other_columns(paths, columns)
        # One worker keeps the order of the list, and reads many times faster than a model trains.
        file_system, paths = get_filesystem_and_path_or_paths([f"file://{path}" for path in paths])
        reader = QuietReader(
            file_system,
            paths,
            schema_fields=list(columns),
            worker_class=ArrowReaderWorker,
            reader_pool=CompleteThreadPool(1),
            shuffle_row_groups=False,
            cache=NullCache(),
            is_batched_reader=True,
        )
        with reader:
            for row_group in reader:
                for name in columns:
                    parts[name].append(getattr(row_group, name))
    read = sum(map(len, parts[columns[0]]))
    listed = sum(file.rows for file in files)
    if read != listed:
        raise RuntimeError(f"read {read} rows of {listed} listed in {len(files)} files, as {files[0].path}")
    # a round has gigabytes of rows: of no more than one column at a time are there two copies
    return _sorted({name: np.concatenate(parts.pop(name)) if parts[name] else np.array([]) for name in columns})


def _refuse_other_columns(paths: Sequence[str], columns: Sequence[str]) -> None:
    schemas = [_schema(path) for path in paths]
    for path, schema in zip(paths, schemas, strict=True):
        for name in columns:
            if name not in schema.names:
                raise UserError(f'file {path} of the samples lacks the column "{name}": build them anew')
            if schema.field(name).type != schemas[0].field(name).type:
                raise UserError(
                    f'file {path} of the samples has {schema.field(name).type} as the type of "{name}", and {paths[0]} '
                    f"has {schemas[0].field(name).type}: build them anew"
                )


@lru_cache(1 << 14)
def _schema(path: str) -> pa.Schema:
    """That of a file, which never changes: every epoch asks again."""
    return pq.read_schema(path)


def _sorted(columns: Columns) -> Columns:
    """Sorts the rows by ROW_ORDER. Files are sorted already: only domains in several files have to be merged."""
    order = np.argsort(columns["domain_id"], kind="stable")
    for name, column in columns.items():
        columns[name] = column[order]
    domain = columns["domain_id"]
    alike, falls = domain[1:] == domain[:-1], np.zeros(len(domain[1:]), bool)
    for key in (columns[name] for name in ROW_ORDER[1:]):
        falls |= alike & (key[1:] < key[:-1])
        alike &= key[1:] == key[:-1]
    for merged in np.unique(domain[1:][falls]):
        part = slice(*np.searchsorted(domain, [merged, merged + 1]))
        within = np.lexsort([columns[name][part] for name in reversed(ROW_ORDER[1:])])
        for column in columns.values():
            column[part] = column[part][within]
    return columns
