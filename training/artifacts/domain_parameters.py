"""theta^i as rows of the table domain_parameters: plain little-endian floats and lists of ids."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import torch
from deltalake import WriterProperties, write_deltalake

from training.data.delta_files import read_columns
from training.frameworks.specific.adapter import AdaptedDomain
from training.parameters.domain_offsets import DomainOffset
from training.parameters.shared import SharedParameters

# A row is as large as a network: Spark reads up to 4,096 rows of a row group at once, and a server all of them for one.
# delta-rs counts the rows of a group, Hadoop's writer, whose size is in bytes, looks at it after some number of rows.
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


def to_row(adapted: AdaptedDomain, rounds: int, version: str, bucket: int, theta: SharedParameters, dtype: str) -> dict:
    """A domain that keeps theta^i after `rounds` rounds, as a row of the table; with 0 rounds it keeps none.

    Args:
        dtype: of the stored values, as framework.specific_dtype.
    """
    specific = adapted.offsets[rounds] if rounds else None
    return {
        "model_version": version,
        "domain_id": adapted.domain_id,
        "bucket": bucket,
        "rounds": rounds,
        "dense": _to_bytes(specific.dense, dtype) if specific else b"",
        "embeddings": [
            {
                "name": name,
                "ids": specific.ids[theta.vocabulary_of[name]].tolist(),
                "values": _to_bytes(rows, dtype),
            }
            for name, rows in specific.rows.items()
        ]
        if specific
        else [],
        "rows_train": adapted.rows_train,
        "rows_val": adapted.rows_val,
        "val_auc_shared": _or_none(adapted.val_auc[0]),
        "val_auc": _or_none(adapted.val_auc[rounds]),
    }


def from_row(row: Mapping, theta: SharedParameters, dtype: str) -> DomainOffset | None:
    """theta^i of a row of the table; None where it keeps none."""
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
    """Adds rows to the table at `path`, in one commit, without Spark."""
    if rows:
        write_deltalake(path, pa.Table.from_pylist(rows, schema=SCHEMA), mode="append", writer_properties=ROW_GROUPS)


def written_domains(path: str, version: str) -> set[int]:
    """The ids of the domains that have a row of a model version in the table at `path`."""
    return set(read_columns(path, ["domain_id"], {"model_version": version})["domain_id"].tolist())


def _to_bytes(values: torch.Tensor, dtype: str) -> bytes:
    return values.detach().cpu().numpy().astype(_little_endian(dtype)).tobytes()


def _from_bytes(values: bytes, dtype: str) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(values, _little_endian(dtype)).astype(np.float32))


def _little_endian(dtype: str) -> np.dtype:
    return np.dtype(dtype).newbyteorder("<")


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
