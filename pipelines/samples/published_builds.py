"""Keeps the table builds: which versions of the tables belong together, and how far each build read the log."""

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.engine.rows import aggregate
from training.config import Config, DataConfig
from training.data.delta_files import require_version
from training.data.published_builds import COMMIT_TAG, PUBLISHED_TABLES, first_build_commit
from training.errors import UserError

DAILY_KEYS = ("since", "until", "since_version", "incremental")  # of DataConfig: they differ from day to day
MODEL_TABLES = ("samples", "domains", "users", "items")  # the tables whose versions belong to a model
USER_METADATA = "spark.databricks.delta.commitInfo.userMetadata"


@dataclass(frozen=True)
class StartedBuild:
    """Describes the state in which a build began.

    Attributes:
        versions: the newest version of each table that a build writes; -1 for a table that does not exist.
        source_version: the newest version of a log that is a Delta table, else None.
    """

    versions: Mapping[str, int]
    source_version: int | None


def start_build(spark: SparkSession, config: Config) -> StartedBuild:
    """Returns the state before a build.

    Call it before reading the log: rows that are added during the build are then read by the next one.
    """
    paths = {name: config.table(name) for name in PUBLISHED_TABLES}
    versions = {name: tables.version(path) if tables.exists(spark, path) else -1 for name, path in paths.items()}
    return StartedBuild(versions, _source_version(spark, config.data))


def _source_version(spark: SparkSession, data: DataConfig) -> int | None:
    if data.source != "delta" or not tables.exists(spark, data.path):
        return None
    return DeltaTable.forPath(spark, data.path).history(1).head(1)[0]["version"]


@contextmanager
def tagged_commits(spark: SparkSession) -> Iterator[None]:
    """Tags the commits inside the block as those of one build; see training/data/published_builds.py."""
    spark.conf.set(USER_METADATA, f"{COMMIT_TAG} {uuid.uuid4()}")
    try:
        yield
    finally:
        spark.conf.unset(USER_METADATA)


def publish(spark: SparkSession, config: Config, started: StartedBuild, latest: float | None) -> None:
    """Publishes the tables as this build has left them: adds a row to the table builds.

    Args:
        latest: the largest time among all rows of this log that were kept.

    Raises:
        UserError: another job wrote one of the tables meanwhile.
    """
    versions = {name: _written_version(spark, config.table(name), started.versions[name]) for name in PUBLISHED_TABLES}
    schema = "path STRING, source_version BIGINT, latest DOUBLE, data STRING, versions MAP<STRING, BIGINT>"
    values = (config.data.path, started.source_version, latest, settings_of(config.data), versions)
    row = spark.createDataFrame([values], schema)
    tables.append(row.withColumn("built_at", F.current_timestamp()), "builds", config.table("builds"))


def _written_version(spark: SparkSession, path: str, before: int) -> int:
    """Returns the newest version of the table at `path`. Raises UserError if another job wrote one after `before`."""
    tag = spark.conf.get(USER_METADATA)
    commits = tables.commits(path, before)
    for commit in commits:
        if commit.get("userMetadata") != tag:
            raise UserError(
                f"table {path} was written by another job (version {commit['version']}) during this build, so the "
                "build is not published: run one build of these tables at a time, and repeat this one"
            )
    return commits[0]["version"] if commits else before


def settings_of(data: DataConfig) -> str:
    """Returns, as JSON, the settings that two builds must share for their tables to be comparable."""
    return json.dumps({key: value for key, value in asdict(data).items() if key not in DAILY_KEYS}, sort_keys=True)


def last_build(spark: SparkSession, config: Config) -> Row | None:
    """Returns the newest row of the table builds; None if there is none."""
    path = config.table("builds")
    if not tables.exists(spark, path):
        return None
    return tables.read(spark, path).orderBy(F.desc("built_at")).first()


def versions_with(spark: SparkSession, config: Config, samples: int) -> dict[str, int]:
    """Returns the version of each of MODEL_TABLES that belongs to version `samples` of the samples.

    These are the versions of the build that made those samples. If no build made them, for instance after a DELETE,
    but they are the newest, the newest versions of all tables are returned.

    Raises:
        UserError: no build made that version, or a table no longer has its version.
    """
    path, build = config.table("builds"), None
    if tables.exists(spark, path):
        of_version = tables.read(spark, path).where(F.col("versions")["samples"] == samples)
        build = of_version.orderBy(F.desc("built_at")).first()
    if build is None:
        newest = {name: tables.version(config.table(name)) for name in MODEL_TABLES}
        if samples == newest["samples"]:
            return newest
        raise UserError(
            f"version {samples} of table {config.table('samples')} (now at {newest['samples']}) was not produced by a "
            "build: rebuild the tables and retrain"
        )
    for name in MODEL_TABLES:
        require_version(config.table(name), build["versions"][name])
    return {name: build["versions"][name] for name in MODEL_TABLES}


def latest_time(clean: DataFrame) -> float | None:
    """Returns the largest time of clean rows; None if no row has a time."""
    return aggregate(clean, F.max("time"))[0]


def unread_rows(data: DataConfig, last: Row) -> DataConfig:
    """Returns `data` limited to the rows of the log that the `last` build did not read.

    Uses the Delta version of the log if it has one, else `data.since`, else the latest time seen. Without any of
    them, or for a different log, all rows are read.
    """
    if last["path"] != data.path:
        return data
    if last["source_version"] is not None:
        return replace(data, since_version=last["source_version"])
    if data.since is not None or last["latest"] is None:
        return data
    return replace(data, since=repr(last["latest"]))


def undo_unfinished(spark: SparkSession, config: Config, last: Row) -> None:
    """Restores tables that unfinished builds have written since the `last` published one.

    Changes that others committed before, such as a DELETE, stay.
    """
    for name, published in last["versions"].items():
        path = config.table(name)
        unfinished = first_build_commit(tables.commits(path, published))
        if unfinished is not None:
            tables.restore(spark, path, unfinished - 1)
