"""The table builds: which versions of the tables belong together, and how far the log was read for them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from pipelines import tables
from training.config import Config, DataConfig
from training.errors import UserError
from training.snapshot import MARK, READ, require_version

OF_A_DAY = ("since", "until", "since_version", "incremental")  # settings of data
BELONGING = ("samples", "domains", "users", "items")  # to a model


@contextmanager
def marked(spark: SparkSession) -> Iterator[None]:
    """Lets the commits of the block carry the mark of a build, see training/snapshot.py."""
    spark.conf.set("spark.databricks.delta.commitInfo.userMetadata", MARK)
    try:
        yield
    finally:
        spark.conf.unset("spark.databricks.delta.commitInfo.userMetadata")


def record(spark: SparkSession, config: Config, source_version: int | None, latest: float | None) -> None:
    """Notes that the tables as they are now belong together.

    Args:
        source_version: of the log when it was read, see `source_version`.
        latest: the largest time of all rows of this log that were kept.
    """
    versions = {name: tables.version(spark, config.table(name)) for name in READ}
    schema = "path STRING, source_version BIGINT, latest DOUBLE, data STRING, versions MAP<STRING, BIGINT>"
    values = (config.data.path, source_version, latest, settings_of(config.data), versions)
    row = spark.createDataFrame([values], schema)
    tables.append(row.withColumn("built_at", F.current_timestamp()), "builds", config.table("builds"))


def settings_of(data: DataConfig) -> str:
    """The settings that two builds share whose tables can be compared, as JSON."""
    return json.dumps({key: value for key, value in asdict(data).items() if key not in OF_A_DAY}, sort_keys=True)


def read_last(spark: SparkSession, config: Config) -> Row | None:
    """The newest build; None where there is none."""
    path = config.table("builds")
    if not tables.exists(spark, path):
        return None
    return tables.read(spark, path).orderBy(F.desc("built_at")).first()


def versions(spark: SparkSession, config: Config, samples: int) -> dict[str, int]:
    """By table, the versions that belong to a version of the samples: those of the build that made it.

    Of newest samples that are of no build, since somebody deleted rows, they are the newest.

    Raises:
        UserError: no build made that version, or a table does not have its version any more.
    """
    path, found = config.table("builds"), None
    if tables.exists(spark, path):
        of_version = tables.read(spark, path).where(F.col("versions")["samples"] == samples)
        found = of_version.orderBy(F.desc("built_at")).first()
    if found is None:
        newest = {name: tables.version(spark, config.table(name)) for name in BELONGING}
        if samples == newest["samples"]:
            return newest
        at = f"version {samples} of table {config.table('samples')}, which is at {newest['samples']},"
        raise UserError(f"{at} is of no build: build and train anew")
    for name in BELONGING:
        require_version(config.table(name), found["versions"][name])
    return {name: found["versions"][name] for name in BELONGING}


def source_version(spark: SparkSession, config: Config) -> int | None:
    """The newest version of a log that is a Delta table.

    Ask before it is read: rows that come meanwhile are then read again.
    """
    is_table = config.data.source == "delta" and tables.exists(spark, config.data.path)
    return tables.version(spark, config.data.path) if is_table else None


def latest_time(kept: DataFrame) -> float | None:
    return kept.agg(F.max("time")).first()[0]


def unread(data: DataConfig, last: Row) -> DataConfig:
    """`data` with the rows that the `last` build of this log did not see.

    By the version of a Delta table, by times otherwise, unless data.since is given; where there is neither, or another
    log was read, all rows.
    """
    if last["path"] != data.path:
        return data
    if last["source_version"] is not None:
        return replace(data, since_version=last["source_version"])
    if data.since is not None or last["latest"] is None:
        return data
    return replace(data, since=repr(last["latest"]))


def undo_unfinished(spark: SparkSession, config: Config, last: Row) -> None:
    """Takes back what a build that was cut off has written since the `last` one."""
    for name, version in last["versions"].items():
        path = config.table(name)
        if tables.version(spark, path) != version:
            tables.restore(spark, path, version)
