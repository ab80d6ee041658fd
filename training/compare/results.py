"""The Delta table of results: one row a cell, written when it is done, so that a run that was cut off goes on."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import TableNotFoundError

from training.compare.cells import Cell

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
    """Adds finished cells, in one commit."""
    if rows:
        write_deltalake(str(path), pa.Table.from_pylist(rows, schema=SCHEMA), mode="append")


def finished(path: Path) -> set[Cell]:
    return {Cell(*row) for row in zip(*(_read(path, list(KEY))[key].to_pylist() for key in KEY), strict=True)}


def by_domain(path: Path, cells: Iterable[Cell]) -> pd.DataFrame:
    """One row a cell of `cells` and domain: data, method, seed, domain_key, rows_train, rows, auc, logloss."""
    wanted = set(cells)
    table = _read(path, SCHEMA.names)
    kept = [row for row in table.to_pylist() if Cell(*(row[key] for key in KEY)) in wanted]
    rows = [
        {**{key: row[key] for key in ("data", "method", "seed")}, **domain} for row in kept for domain in row["domains"]
    ]
    return pd.DataFrame(rows).astype({"auc": float})


def _read(path: Path, columns: list[str]) -> pa.Table:
    try:
        files = DeltaTable(str(path)).file_uris()
    except TableNotFoundError:
        files = []
    parts = [pq.ParquetFile(file.removeprefix("file://")).read(columns=columns) for file in files]
    return pa.concat_tables(parts) if parts else SCHEMA.empty_table().select(columns)
