"""Delta tables read without Spark: versions, active files, columns."""

from collections.abc import Sequence
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from training.errors import UserError
from training.files.object_store import fetch, find_missing
from training.files.paths import is_remote

UNREADABLE = {"delta.columnMapping.mode": "column mapping", "delta.enableTypeWidening": "type widening"}


def commits_after(table: DeltaTable, version: int) -> list[dict]:
    """The commits of a table after a version of it, the newest first."""
    number = table.version() - version
    return table.history(number) if number > 0 else []


def open_table(path: str, version: int | None = None) -> DeltaTable:
    """The Delta table at `path`, by default its newest version.

    Raises:
        UserError: there is none, or its files do not hold the columns as the table names and types them.
    """
    try:
        table = DeltaTable(path, version=version)
    except TableNotFoundError:
        raise UserError(f"table {path} does not exist: run pipelines/build_domains.py with the same config") from None
    except DeltaError:
        if version is None:
            raise
        newest = DeltaTable(path).version()
        raise UserError(f"table {path} (version {newest}) has no version {version} any more") from None
    for setting, feature in UNREADABLE.items():
        if table.metadata().configuration.get(setting, "none") not in ("none", "false"):
            raise UserError(
                f"table {path} (version {table.version()}) has {feature} on ({setting}): its files cannot be read as "
                "they are, write the table anew without"
            )
    return table


def require_version(path: str, version: int) -> None:
    """Raises UserError if that version of the Delta table at `path` cannot be read any more."""
    table = open_table(path, version)
    refuse_missing_files(table, [path_of(uri) for uri in table.file_uris()])


def count_rows(path: str, version: int | None = None) -> int:
    return sum(add_actions(open_table(path, version))["num_records"])


def read_columns(
    path: str, columns: list[str], partition: dict[str, str] | None = None, version: int | None = None
) -> dict[str, np.ndarray]:
    """Some columns of a small Delta table, or of one partition. Raises UserError if one is not there."""
    parts = [pq.ParquetFile(file).read(columns=columns) for file in column_files(path, columns, partition, version)]
    return {
        name: np.concatenate([part[name].to_numpy() for part in parts]) if parts else np.array([]) for name in columns
    }


def column_files(
    path: str, columns: list[str], partition: dict[str, str] | None = None, version: int | None = None
) -> list[str]:
    """The files of a Delta table, or of one partition, which have `columns`.

    Raises:
        UserError: a column is not there, or the files hold rows that were deleted; as `open_table`.
    """
    table = open_table(path, version)
    present = [field.name for field in table.schema().fields]
    for column in columns:
        if column not in present:
            raise UserError(f'table {path} has no column "{column}": it has {", ".join(present)}')
    refuse_deletion_vectors(table, path)
    chosen = [(name, "=", value) for name, value in partition.items()] if partition else None
    return [str(fetch(path_of(uri))) for uri in table.file_uris(file_pruning_predicate=chosen)]


def refuse_deletion_vectors(table: DeltaTable, path: str, also_unused: bool = False) -> None:
    enabled = table.metadata().configuration.get("delta.enableDeletionVectors") == "true"
    if (also_unused and enabled) or len(pa.table(table.deletion_vectors().read_all())):
        raise UserError(
            f"table {path} (version {table.version()}) has deletion vectors on, which the feed cannot "
            "apply: set delta.enableDeletionVectors=false and run REORG TABLE ... APPLY (PURGE), or rebuild it"
        )


def refuse_missing_files(table: DeltaTable, files: Sequence[str]) -> None:
    lost = find_missing(files)
    if lost:
        raise UserError(
            f"version {table.version()} of table {table.table_uri} lacks {len(lost)} of {len(files)} files, as "
            f"{lost[0]}: restore them, or build the table again"
        )


def add_actions(table: DeltaTable) -> dict[str, list]:
    return pa.table(table.get_add_actions(flatten=True)).to_pydict()


def path_of(uri: str) -> str:
    """A file that deltalake names: it encodes the names of local ones, even without a scheme."""
    return uri if is_remote(uri) else unquote(uri.removeprefix("file://"))
