"""Creates Delta tables from their definitions in sql/, and reads and writes them, one commit per write."""

from importlib.resources import files
from string import Template

import deltalake
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from pipelines.engine.jvm import hadoop_path
from training.config import Config
from training.data.delta_files import commits_after

SQL = files("sql")


def exists(spark: SparkSession, path: str) -> bool:
    """Returns whether a Delta table lies at `path`."""
    return DeltaTable.isDeltaTable(spark, path)


def create_table(spark: SparkSession, name: str, path: str, features: str = "") -> None:
    """Creates the empty table `name` at `path` from sql/tables/NAME.sql, unless it exists.

    `features` defines the columns of features, each followed by a comma.
    """
    if not exists(spark, path):
        _remove_unfinished(spark, path)
        _define(spark, name, path, features)


def _remove_unfinished(spark: SparkSession, path: str) -> None:
    """Removes the log of a table whose first commit was cut off: Delta creates no table in a folder with files.

    Removes only temporary files and empty folders, so a table that another job creates meanwhile survives.
    """
    log, file_system = hadoop_path(spark, path, "_delta_log")
    if not file_system.exists(log):
        return
    for entry in file_system.listStatus(log):
        if entry.isDirectory() or entry.getPath().getName().startswith("."):
            file_system.delete(entry.getPath(), False)
    file_system.delete(log, False)


def _define(spark: SparkSession, name: str, path: str, features: str, replace: bool = False) -> None:
    create = statement(f"tables/{name}", table=f"delta.`{path}`", features=features)
    # CREATE OR REPLACE would require the columns of the table that already lies at the path
    spark.sql(create.replace("CREATE", "REPLACE", 1) if replace else create)


def statement(name: str, **values: str) -> str:
    """Returns the statement of sql/NAME.sql without comments, with ${placeholders} replaced by `values`."""
    text = Template((SQL / f"{name}.sql").read_text()).substitute(values)
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))


def write(frame: DataFrame, name: str, config: Config, features: str = "") -> DataFrame:
    """Replaces the content of the table `name` of `config`, see `overwrite`, and returns the table as it is now."""
    overwrite(frame, name, config.table(name), features)
    return read(frame.sparkSession, config.table(name))


def overwrite(frame: DataFrame, name: str, path: str, features: str = "") -> None:
    """Replaces the content of the table `name` at `path` in one commit; Delta checks its constraints.

    If an earlier build had other features, the table is first redefined in a commit of its own. Older versions stay
    readable.
    """
    spark = frame.sparkSession
    create_table(spark, name, path, features)
    if set(read(spark, path).dtypes) != set(frame.dtypes):
        _define(spark, name, path, features, replace=True)
    frame.write.format("delta").mode("overwrite").save(path)


def clear(spark: SparkSession, name: str, path: str) -> None:
    """Creates the table `name` at `path` if needed, and empties it."""
    if not exists(spark, path):
        create_table(spark, name, path)
    elif not read(spark, path).isEmpty():
        spark.sql(f"DELETE FROM delta.`{path}`")


def replace_buckets(frame: DataFrame, path: str, buckets: list[int]) -> None:
    """Replaces `buckets` of the samples at `path` by `frame`, which has no rows of other buckets, in one commit."""
    condition = f"bucket IN ({', '.join(map(str, buckets))})"
    frame.write.format("delta").mode("overwrite").option("replaceWhere", condition).save(path)


def restore(spark: SparkSession, path: str, version: int) -> None:
    """Restores the content of `version` of the table, as a new version."""
    spark.sql(f"RESTORE TABLE delta.`{path}` TO VERSION AS OF {version}")


def append(frame: DataFrame, name: str, path: str) -> None:
    """Adds the rows of `frame` to the table `name` at `path`; columns that the table lacks are dropped."""
    create_table(frame.sparkSession, name, path)
    columns = read(frame.sparkSession, path).columns
    frame.select(columns).write.format("delta").mode("append").save(path)


def read(spark: SparkSession, path: str, version: int | None = None) -> DataFrame:
    """Reads a version of the table at `path`, by default the newest."""
    reader = spark.read.format("delta")
    return (reader if version is None else reader.option("versionAsOf", version)).load(path)


def version(path: str) -> int:
    """Returns the newest version of the table at `path`."""
    return deltalake.DeltaTable(path).version()


def commits(path: str, after: int) -> list[dict]:
    """Returns the commits after version `after` of the table at `path`, newest first.

    They are read by delta-rs, as in the trainer: Spark would plan and run a job for the few files of each log.
    """
    return commits_after(deltalake.DeltaTable(path), after)
