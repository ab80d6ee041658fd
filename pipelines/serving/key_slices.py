"""Writes the key files that an exported model looks up ids in."""

from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.serving.promotions import Served
from training.column_names import KEYS
from training.files.atomic_write import atomic_write
from training.serving import key_files

KEYS_PER_SLICE = 1_000_000


def write_keys(spark: SparkSession, served: Served) -> dict[str, str]:
    """Writes the key files of a model's tables, unless they exist.

    Returns:
        For user, item and domain, the folder below ROOT with their keys, ids and features.
    """
    frames = {f"{owner}s": served.read(spark, f"{owner}s") for owner in KEYS}
    domain_id = F.col("domain_id").cast("bigint")
    frames["domains"] = frames["domains"].select(F.col("domain_key").alias("key"), domain_id.alias("id"))
    folders = {}
    for table, frame in frames.items():
        folders[table.removesuffix("s")] = folder = f"serving/keys/{table}-{served.versions[table]}"
        _write_slices(frame, served.key.config.folder(folder))
    return folders


def _write_slices(frame: DataFrame, folder: Path) -> None:
    """Writes the keys of `frame` to `folder`, one file per slice. Does nothing if the folder exists."""
    if folder.exists():
        return
    slices = -(-frame.count() // KEYS_PER_SLICE)
    sliced = frame.withColumn("slice", F.pmod(F.crc32("key"), F.lit(slices)).cast("int"))
    with atomic_write(folder) as temporary:

        def write(of_slice: pa.Table) -> pa.Table:
            number = of_slice["slice"][0].as_py()
            key_files.write_slice(of_slice.drop_columns("slice"), temporary, number, slices)
            return pa.table({"keys": [len(of_slice)]})

        sliced.groupBy("slice").applyInArrow(write, "keys long").collect()
