"""Stores theta^i as rows of the table domain_parameters: little-endian floats and lists of ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from deltalake import WriterProperties, write_deltalake

from training.data.delta_files import read_columns
from training.parameters.domain_offsets import DomainOffset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from training.frameworks.specific.adapter import AdaptedDomain
    from training.parameters.shared import SharedParameters

# A row is as large as a network. Spark reads up to 4,096 rows of a row group at once, and a server reads a whole row
# group for one domain, so row groups are small. delta-rs limits the rows of a group. Hadoop's writer limits its bytes,
# which it checks only after a number of rows.
ROW_GROUPS = WriterProperties(max_row_group_size=64, compression="SNAPPY")
HADOOP_ROW_GROUPS = {"parquet.block.size": str(4 << 20), "parquet.page.size.row.check.max": "100"}
SCHEMA = pa.schema(
    [
        pa.field("model_version", pa.string(), False),
        pa.field("domain_id", pa.int32(), False),
        pa.field("bucket", pa.int32(), False),
        pa.field("rounds", pa.int32(), False),
        pa.field("dense", pa.binary(), False),
        pa.field(
            "embeddings",
            pa.list_(
                pa.struct(
                    [
                        pa.field("name", pa.string()),
                        pa.field("ids", pa.list_(pa.int64())),
                        pa.field("values", pa.binary()),
                    ]
                )
            ),
            False,
        ),
        pa.field("rows_train", pa.int64(), False),
        pa.field("rows_val", pa.int64(), False),
        pa.field("val_auc_shared", pa.float64()),
        pa.field("val_auc", pa.float64()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class DomainRow:
    """Holds the values of a row of domain_parameters: theta^i of one domain, and how good it is.

    Attributes:
        bucket: the first bucket of the samples that holds rows of the domain.
        rounds: the rounds of adaptation that the domain keeps.
        offset: theta^i after these rounds; None if it keeps none.
        val_auc_shared: validation AUC of theta^S. NaN if the domain's validation rows have one class.
        val_auc: validation AUC of theta^S + theta^i.
    """

    model_version: str
    domain_id: int
    bucket: int
    rounds: int
    offset: DomainOffset | None
    rows_train: int
    rows_val: int
    val_auc_shared: float
    val_auc: float

    @classmethod
    def of(cls, adapted: AdaptedDomain, rounds: int, model_version: str, bucket: int) -> DomainRow:
        """Returns the row of an adapted domain that keeps theta^i after `rounds` rounds."""
        return cls(
            model_version=model_version,
            domain_id=adapted.domain_id,
            bucket=bucket,
            rounds=rounds,
            offset=adapted.offsets[rounds] if rounds else None,
            rows_train=adapted.rows_train,
            rows_val=adapted.rows_val,
            val_auc_shared=adapted.val_auc[0],
            val_auc=adapted.val_auc[rounds],
        )


def to_row(row: DomainRow, theta: SharedParameters, dtype: str) -> dict:
    """Encodes a row for SCHEMA.

    Args:
        dtype: the type of the stored values, see framework.specific_dtype.
    """
    offset = row.offset
    embeddings = (
        []
        if offset is None
        else [
            {"name": name, "ids": offset.ids[theta.vocabulary_of[name]].tolist(), "values": _to_bytes(rows, dtype)}
            for name, rows in offset.rows.items()
        ]
    )
    return {
        "model_version": row.model_version,
        "domain_id": row.domain_id,
        "bucket": row.bucket,
        "rounds": row.rounds,
        "dense": b"" if offset is None else _to_bytes(offset.dense, dtype),
        "embeddings": embeddings,
        "rows_train": row.rows_train,
        "rows_val": row.rows_val,
        "val_auc_shared": _none_if_nan(row.val_auc_shared),
        "val_auc": _none_if_nan(row.val_auc),
    }


def from_row(row: Mapping, theta: SharedParameters, dtype: str) -> DomainOffset | None:
    """Decodes theta^i from a row of the table. Returns None if the domain keeps no rounds."""
    if not row["rounds"]:
        return None
    ids, rows = {}, {}
    for entry in row["embeddings"]:
        vocabulary = theta.vocabulary_of[entry["name"]]
        ids[vocabulary] = torch.tensor(np.asarray(entry["ids"], np.int64))
        rows[entry["name"]] = _from_bytes(entry["values"], dtype).view(len(ids[vocabulary]), -1)
    for vocabulary in theta.features_of:
        ids.setdefault(vocabulary, torch.empty(0, dtype=torch.int64))
    return DomainOffset(_from_bytes(row["dense"], dtype), ids, rows)


def append(path: str, rows: list[dict]) -> None:
    """Appends rows to the table at `path` in one commit, without Spark."""
    if rows:
        write_deltalake(path, pa.Table.from_pylist(rows, schema=SCHEMA), mode="append", writer_properties=ROW_GROUPS)


def written_domains(path: str, version: str) -> set[int]:
    """Returns the domains that have a row of model `version` in the table at `path`."""
    return set(read_columns(path, ["domain_id"], {"model_version": version})["domain_id"].tolist())


def _to_bytes(values: torch.Tensor, dtype: str) -> bytes:
    return values.detach().cpu().numpy().astype(_little_endian(dtype)).tobytes()


def _from_bytes(values: bytes, dtype: str) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(values, _little_endian(dtype)).astype(np.float32))


def _little_endian(dtype: str) -> np.dtype:
    return np.dtype(dtype).newbyteorder("<")


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
