"""Reads the samples of whole buckets with Petastorm. This is the only module that imports it."""

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

# Petastorm 0.13 was written for an older pyarrow; the locked version still supports its calls, but warns at each one.
warnings.filterwarnings("ignore", category=FutureWarning, module="petastorm")


class CompleteThreadPool(ThreadPool):
    """Fixes Petastorm's thread pool, which can lose row groups.

    `ThreadPool.get_results` ends when all workers are done and the ventilator is completed, checked in this order. The
    ventilator can hand out its last items between the two checks, and those are lost without an error. Here the
    ventilator is checked first. A completed ventilator stays completed, so "all workers are done" then means that all
    work is done.
    """

    def all_workers_done(self) -> bool:
        """Returns whether all items were handed out and processed."""
        handed_out = self._ventilator is None or self._ventilator.completed()
        return handed_out and super().all_workers_done()


class QuietReader(Reader):
    """Keeps Petastorm's reader from printing on stdout, where only the summary belongs."""

    def cleanup_cache(self) -> None:
        """Does nothing, because there is no cache; the original prints."""


def read_buckets(snapshot: Snapshot, split: str, buckets: Sequence[int] | None = None) -> Columns:
    """Reads the rows of `buckets` (default: all) in `split`, with all columns of the schema.

    Rows are sorted as in `read_rows`, which says what is raised.
    """
    chosen = list(snapshot.rows_by_bucket(split) if buckets is None else buckets)
    return read_rows(snapshot.files_of(split, chosen), snapshot.schema.columns)


def read_rows(files: Sequence[DataFile], columns: Sequence[str] = ROW_ORDER) -> Columns:
    """Reads whole files of a snapshot, and sorts the rows by domain_id, user_id, item_id, label.

    Args:
        columns: those to read; ROW_ORDER must be among them.

    Raises:
        UserError: a file lacks a column, or the type of a column differs between files.
        RuntimeError: the number of rows differs from the number that the table lists.
    """
    chunks: dict[str, list[np.ndarray]] = {name: [] for name in columns}
    if files:
        paths = [str(fetch(file.path)) for file in files]
        _refuse_other_columns(paths, columns)
        # A single worker keeps the order of the files, and still reads many times faster than a model trains.
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
                    chunks[name].append(getattr(row_group, name))
    rows_read = sum(map(len, chunks[columns[0]]))
    rows_listed = sum(file.rows for file in files)
    if rows_read != rows_listed:
        raise RuntimeError(
            f"read {rows_read} rows of {rows_listed} listed in {len(files)} files, the first being {files[0].path}"
        )
    # A round may have gigabytes of rows: `pop` frees each column's chunks before the next is concatenated.
    return _sort({name: np.concatenate(chunks.pop(name)) if chunks[name] else np.array([]) for name in columns})


def _refuse_other_columns(paths: Sequence[str], columns: Sequence[str]) -> None:
    """Raises UserError if a file lacks one of the columns or has another type for it than the first file."""
    schemas = [_schema(path) for path in paths]
    for path, schema in zip(paths, schemas, strict=True):
        for name in columns:
            if name not in schema.names:
                raise UserError(f'file {path} of the samples lacks the column "{name}": rebuild the tables')
            if schema.field(name).type != schemas[0].field(name).type:
                raise UserError(
                    f'column "{name}" of the samples has type {schema.field(name).type} in file {path}, but '
                    f"{schemas[0].field(name).type} in file {paths[0]}: rebuild the tables"
                )


@lru_cache(1 << 14)
def _schema(path: str) -> pa.Schema:
    """Returns the schema of a file. Files never change, and every epoch reads the same ones."""
    return pq.read_schema(path)


def _sort(columns: Columns) -> Columns:
    """Sorts the rows by ROW_ORDER, in place, column by column.

    Each file is sorted already, so after a stable sort by domain only domains with rows in several files can be out of
    order.
    """
    order = np.argsort(columns["domain_id"], kind="stable")
    for name, column in columns.items():
        columns[name] = column[order]
    domain = columns["domain_id"]
    equal = domain[1:] == domain[:-1]  # to the row before, in the columns compared so far
    out_of_order = np.zeros(len(equal), bool)
    for key in (columns[name] for name in ROW_ORDER[1:]):
        out_of_order |= equal & (key[1:] < key[:-1])
        equal &= key[1:] == key[:-1]
    for domain_id in np.unique(domain[1:][out_of_order]):
        rows = slice(*np.searchsorted(domain, [domain_id, domain_id + 1]))
        sorted_rows = np.lexsort([columns[name][rows] for name in reversed(ROW_ORDER[1:])])
        for column in columns.values():
            column[rows] = column[rows][sorted_rows]
    return columns
