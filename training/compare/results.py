"""The Delta table of results: one row a cell, written when it is done, so that a run that was cut off goes on."""

from collections.abc import Iterable
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import TableNotFoundError

from training.artifacts.provenance import repository_commit
from training.compare.plan import Cell

CELLS = "cells.parquet"
KEY = ("data", "method", "seed", "settings")
SCHEMA = pa.schema(
    [
        pa.field("data", pa.string(), False),
        pa.field("method", pa.string(), False),
        pa.field("seed", pa.int64(), False),
        pa.field("settings", pa.string(), False),
        pa.field("val_mean_domain_auc", pa.float64()),
        pa.field("samples_per_second", pa.float64()),
        pa.field("seconds", pa.float64(), False),
        pa.field("all_rows_auc", pa.float64()),
        pa.field("commit", pa.string()),  # of this repository, when the cell was run
        pa.field("date", pa.date32(), False),
        pa.field(
            "domains",
            pa.list_(
                pa.struct(
                    [
                        pa.field("domain_key", pa.string()),
                        pa.field("rows_train", pa.int64()),
                        pa.field("rows", pa.int64()),
                        pa.field("auc", pa.float64()),
                        pa.field("logloss", pa.float64()),
                    ]
                )
            ),
            False,
        ),
    ]
)


def append(path: Path, rows: list[dict]) -> None:
    """Adds finished cells, in one commit of the table."""
    made = {"commit": repository_commit(), "date": date.today()}
    _append(path, pa.Table.from_pylist([{**row, **made} for row in rows], schema=SCHEMA))


def publish(path: Path, folder: Path) -> None:
    """Writes all cells of the table to one file."""
    table = _read(path, SCHEMA.names).sort_by([(key, "ascending") for key in KEY])
    pq.write_table(table, folder / CELLS, compression="zstd", compression_level=19)


def take_over(folder: Path, path: Path) -> None:
    """Adds published cells that the table has not."""
    if (folder / CELLS).exists():
        done = finished(path)
        rows = pq.read_table(folder / CELLS, schema=SCHEMA).to_pylist()
        new = [row for row in rows if Cell(*(row[key] for key in KEY)) not in done]
        _append(path, pa.Table.from_pylist(new, schema=SCHEMA))


def origins(path: Path, cells: Iterable[Cell]) -> list[tuple[str | None, date]]:
    """The (commit, date) pairs that the cells come from, by date."""
    wanted = set(cells)
    rows = _read(path, [*KEY, "commit", "date"]).to_pylist()
    found = {(row["commit"], row["date"]) for row in rows if Cell(*(row[key] for key in KEY)) in wanted}
    return sorted(found, key=lambda one: (one[1], one[0] or ""))


def _append(path: Path, table: pa.Table) -> None:
    if len(table):
        write_deltalake(str(path), table, mode="append", schema_mode="merge")


def finished(path: Path) -> set[Cell]:
    return {Cell(*row) for row in zip(*(_read(path, list(KEY))[key].to_pylist() for key in KEY), strict=True)}


def by_domain(path: Path, cells: Iterable[Cell]) -> pd.DataFrame:
    """One row a cell of `cells` and domain.

    Columns: data, method, seed and all_rows_auc of the cell; domain_key, rows_train, rows, auc, logloss of the domain.
    """
    wanted = set(cells)
    table = _read(path, SCHEMA.names)
    kept = [row for row in table.to_pylist() if Cell(*(row[key] for key in KEY)) in wanted]
    rows = [
        {**{key: row[key] for key in ("data", "method", "seed", "all_rows_auc")}, **domain}
        for row in kept
        for domain in row["domains"]
    ]
    return pd.DataFrame(rows).astype({"auc": float, "all_rows_auc": float})


def _read(path: Path, columns: list[str]) -> pa.Table:
    try:
        files = DeltaTable(str(path)).file_uris()
    except TableNotFoundError:
        files = []
    parts = [pq.ParquetFile(file.removeprefix("file://")).read(columns=columns) for file in files]
    return pa.concat_tables([SCHEMA.empty_table().select(columns), *parts], promote_options="default")
