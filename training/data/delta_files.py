"""Reads Delta tables without Spark: versions, active files, columns."""

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

# Table features under which Parquet files have other column names or types than the table.
UNREADABLE = {"delta.columnMapping.mode": "column mapping", "delta.enableTypeWidening": "type widening"}


def commits_after(table: DeltaTable, version: int) -> list[dict]:
    """Returns the commits of a table after `version`, newest first."""
    number = table.version() - version
    return table.history(number) if number > 0 else []


def open_table(path: str, version: int | None = None) -> DeltaTable:
    """Opens a version of the Delta table at `path`, by default the newest.

    Raises:
        UserError: the table or the version does not exist, or a table feature makes the files unreadable here.
    """
    try:
        table = DeltaTable(path, version=version)
    except TableNotFoundError:
        raise UserError(f"table {path} does not exist: run pipelines/build_domains.py with the same config") from None
    except DeltaError:
        if version is None:
            raise
        newest = DeltaTable(path).version()
        raise UserError(
            f"version {version} of table {path} no longer exists (the newest is {newest}): rebuild the tables, and "
            "retrain models that were trained on it"
        ) from None
    for setting, feature in UNREADABLE.items():
        if table.metadata().configuration.get(setting, "none") not in ("none", "false"):
            raise UserError(
                f"table {path} (version {table.version()}) has {feature} enabled ({setting}), which the reader does "
                "not support: write the table again without it"
            )
    return table


def require_version(path: str, version: int) -> None:
    """Checks that `version` of the Delta table at `path` can still be read.

    Raises:
        UserError: the version or one of its files no longer exists.
    """
    table = open_table(path, version)
    refuse_missing_files(table, [path_of(uri) for uri in table.file_uris()])


def count_rows(path: str, version: int | None = None) -> int:
    """Returns the number of rows of a Delta table, from the statistics of its files."""
    return sum(add_actions(open_table(path, version))["num_records"])


def read_columns(
    path: str, columns: list[str], partition: dict[str, str] | None = None, version: int | None = None
) -> dict[str, np.ndarray]:
    """Reads columns of a small Delta table, or of one partition of it. Raises what `column_files` raises."""
    tables = [pq.ParquetFile(file).read(columns=columns) for file in column_files(path, columns, partition, version)]
    return {
        name: np.concatenate([table[name].to_numpy() for table in tables]) if tables else np.array([])
        for name in columns
    }


def column_files(
    path: str, columns: list[str], partition: dict[str, str] | None = None, version: int | None = None
) -> list[str]:
    """Returns local paths of the files of a Delta table, or of one partition, after checking that it has `columns`.

    Raises:
        UserError: the table lacks a column or has deleted rows; or what `open_table` raises.
    """
    table = open_table(path, version)
    present = [field.name for field in table.schema().fields]
    for column in columns:
        if column not in present:
            raise UserError(f'table {path} has no column "{column}": it has {", ".join(present)}')
    refuse_deletion_vectors(table, path)
    predicate = [(name, "=", value) for name, value in partition.items()] if partition else None
    return [str(fetch(path_of(uri))) for uri in table.file_uris(file_pruning_predicate=predicate)]


def refuse_deletion_vectors(table: DeltaTable, path: str, also_unused: bool = False) -> None:
    """Checks that no file has deletion vectors; with `also_unused`, that the table does not enable them either.

    Raises:
        UserError
    """
    enabled = table.metadata().configuration.get("delta.enableDeletionVectors") == "true"
    if (also_unused and enabled) or len(pa.table(table.deletion_vectors().read_all())):
        raise UserError(
            f"table {path} (version {table.version()}) has deletion vectors, which the reader does not support: "
            "set delta.enableDeletionVectors=false and run REORG TABLE ... APPLY (PURGE), or rebuild the table"
        )


def refuse_missing_files(table: DeltaTable, files: Sequence[str]) -> None:
    """Raises UserError if one of the table's `files` does not exist."""
    lost = find_missing(files)
    if lost:
        raise UserError(
            f"version {table.version()} of table {table.table_uri} lacks {len(lost)} of its {len(files)} files, for "
            f"example {lost[0]}: restore them, or rebuild the table"
        )


def add_actions(table: DeltaTable) -> dict[str, list]:
    """Returns the table's active files as columns: path, num_records, partition.NAME, min.NAME, max.NAME."""
    return pa.table(table.get_add_actions(flatten=True)).to_pydict()


def path_of(uri: str) -> str:
    """Returns the path or URL of a file that deltalake lists; it percent-encodes local ones, even without a scheme."""
    return uri if is_remote(uri) else unquote(uri.removeprefix("file://"))
