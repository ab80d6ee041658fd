"""Stores results in a Delta table: one row per cell, appended when the cell is done, so that a later run resumes."""

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
        pa.field("commit", pa.string()),  # of this repository, at the time of the run
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
    """Appends finished cells in one commit of the table."""
    origin = {"commit": repository_commit(), "date": date.today()}
    _append(path, pa.Table.from_pylist([{**row, **origin} for row in rows], schema=SCHEMA))


def export_cells(path: Path, folder: Path) -> None:
    """Writes all cells of the table to one file in `folder`."""
    table = _read(path, SCHEMA.names).sort_by([(key, "ascending") for key in KEY])
    pq.write_table(table, folder / CELLS, compression="zstd", compression_level=19)


def import_cells(folder: Path, path: Path) -> None:
    """Appends the exported cells that the table lacks."""
    if (folder / CELLS).exists():
        done = finished_cells(path)
        rows = pq.read_table(folder / CELLS, schema=SCHEMA).to_pylist()
        new = [row for row in rows if _cell_of(row) not in done]
        _append(path, pa.Table.from_pylist(new, schema=SCHEMA))


def origins(path: Path, cells: Iterable[Cell]) -> list[tuple[str | None, date]]:
    """Returns the (commit, date) pairs of the runs that filled the cells, sorted by date."""
    selected = set(cells)
    rows = _read(path, [*KEY, "commit", "date"]).to_pylist()
    pairs = {(row["commit"], row["date"]) for row in rows if _cell_of(row) in selected}
    return sorted(pairs, key=lambda pair: (pair[1], pair[0] or ""))


def finished_cells(path: Path) -> set[Cell]:
    """Returns the cells in the table."""
    return {_cell_of(row) for row in _read(path, list(KEY)).to_pylist()}


def by_domain(path: Path, cells: Iterable[Cell]) -> pd.DataFrame:
    """Returns one row for each of the `cells` and each domain.

    Columns: data, method, seed and all_rows_auc of the cell; domain_key, rows_train, rows, auc, logloss of the domain.
    """
    selected = set(cells)
    rows = [
        {**{key: row[key] for key in ("data", "method", "seed", "all_rows_auc")}, **domain}
        for row in _read(path, SCHEMA.names).to_pylist()
        if _cell_of(row) in selected
        for domain in row["domains"]
    ]
    return pd.DataFrame(rows).astype({"auc": float, "all_rows_auc": float})


def _cell_of(row: dict) -> Cell:
    return Cell(*(row[key] for key in KEY))


def _append(path: Path, table: pa.Table) -> None:
    if len(table):
        write_deltalake(str(path), table, mode="append", schema_mode="merge")


def _read(path: Path, columns: list[str]) -> pa.Table:
    """Reads the table, which may be missing or lack columns that were added since."""
    try:
        files = DeltaTable(str(path)).file_uris()
    except TableNotFoundError:
        files = []
    tables = [pq.ParquetFile(file.removeprefix("file://")).read(columns=columns) for file in files]
    return pa.concat_tables([SCHEMA.empty_table().select(columns), *tables], promote_options="default")
