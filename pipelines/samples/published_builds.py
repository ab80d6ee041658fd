"""The table builds: which versions of the tables belong together, and how far the log was read for them."""

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from pipelines.engine import tables
from training.config import Config, DataConfig
from training.data.delta_files import require_version
from training.data.published_builds import COMMIT_TAG, PUBLISHED_TABLES, first_build_commit
from training.errors import UserError

OF_A_DAY = ("since", "until", "since_version", "incremental")  # settings of data
BELONGING = ("samples", "domains", "users", "items")  # to a model
USER_METADATA = "spark.databricks.delta.commitInfo.userMetadata"


@contextmanager
def marked(spark: SparkSession) -> Iterator[None]:
    """Lets the commits of the block carry the mark of a build, and of this one alone; see training/data/snapshot.py."""
    spark.conf.set(USER_METADATA, f"{COMMIT_TAG} {uuid.uuid4()}")
    try:
        yield
    finally:
        spark.conf.unset(USER_METADATA)


def record(
    spark: SparkSession,
    config: Config,
    source_version: int | None,
    latest: float | None,
    before: Mapping[str, int],
) -> None:
    """Notes that the tables as this build has left them belong together.

    Args:
        source_version: of the log when it was read, see `source_version`.
        latest: the largest time of all rows of this log that were kept.
        before: `current` when the build began.

    Raises:
        UserError: another job wrote one of the tables meanwhile.
    """
    versions = {name: _written(spark, config.table(name), before[name]) for name in PUBLISHED_TABLES}
    schema = "path STRING, source_version BIGINT, latest DOUBLE, data STRING, versions MAP<STRING, BIGINT>"
    values = (config.data.path, source_version, latest, settings_of(config.data), versions)
    row = spark.createDataFrame([values], schema)
    tables.append(row.withColumn("built_at", F.current_timestamp()), "builds", config.table("builds"))


def current(spark: SparkSession, config: Config) -> dict[str, int]:
    """The newest version of each table that a build writes; -1 where there is no table yet."""
    paths = {name: config.table(name) for name in PUBLISHED_TABLES}
    return {name: tables.version(path) if tables.exists(spark, path) else -1 for name, path in paths.items()}


def _written(spark: SparkSession, path: str, before: int) -> int:
    """The newest version of the table at `path`. Raises UserError where another job wrote one after `before`."""
    own = spark.conf.get(USER_METADATA)
    commits = tables.commits(path, before)
    for commit in commits:
        if commit.get("userMetadata") != own:
            raise UserError(
                f"table {path} was written by another job (version {commit['version']}) while this build ran, which "
                "is not published: run one build of these tables at a time, and now this one again"
            )
    return commits[0]["version"] if commits else before


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
        newest = {name: tables.version(config.table(name)) for name in BELONGING}
        if samples == newest["samples"]:
            return newest
        at = f"version {samples} of table {config.table('samples')}, which is at {newest['samples']},"
        raise UserError(f"{at} is of no build: build and train anew")
    for name in BELONGING:
        require_version(config.table(name), found["versions"][name])
    return {name: found["versions"][name] for name in BELONGING}


def source_version(spark: SparkSession, config: Config) -> int | None:
    """The newest version of a log that is a Delta table, wherever Spark can read one.

    Ask before it is read: rows that come meanwhile are then read again.
    """
    path = config.data.path
    is_table = config.data.source == "delta" and tables.exists(spark, path)
    return DeltaTable.forPath(spark, path).history(1).first()["version"] if is_table else None


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
    """Takes back what builds that were cut off have written since the `last` one.

    What others have done to the tables before, as to delete rows, stays.
    """
    for name, published in last["versions"].items():
        path = config.table(name)
        left = first_build_commit(tables.commits(path, published))
        if left is not None:
            tables.restore(spark, path, left - 1)
