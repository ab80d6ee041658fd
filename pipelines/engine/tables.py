"""Delta tables: made from their definitions in sql/, written in one commit each."""

from importlib.resources import files
from string import Template

import deltalake
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from training.data.delta_files import commits_after

SQL = files("sql")


def exists(spark: SparkSession, path: str) -> bool:
    return DeltaTable.isDeltaTable(spark, path)


def create_table(spark: SparkSession, name: str, path: str, features: str = "") -> None:
    """Makes the empty table `name` at `path` by sql/tables/NAME.sql, unless one is there.

    `features` defines its columns of features, each with a comma behind it.
    """
    if not exists(spark, path):
        _remove_torn(spark, path)
        _define(spark, name, path, features)


def _remove_torn(spark: SparkSession, path: str) -> None:
    """Removes what the first commit of a table leaves that was cut off: Delta makes no table in a folder with files.

    Only temporary files go, and folders with nothing left in them: a table that somebody makes meanwhile stays.
    """
    log = spark._jvm.org.apache.hadoop.fs.Path(path, "_delta_log")
    files = log.getFileSystem(spark._jsc.hadoopConfiguration())
    if not files.exists(log):
        return
    for entry in files.listStatus(log):
        if entry.isDirectory() or entry.getPath().getName().startswith("."):
            files.delete(entry.getPath(), False)
    files.delete(log, False)


def _define(spark: SparkSession, name: str, path: str, features: str, replace: bool = False) -> None:
    create = statement(f"tables/{name}", table=f"delta.`{path}`", features=features)
    # CREATE OR REPLACE would ask for the columns that a table at a path has
    spark.sql(create.replace("CREATE", "REPLACE", 1) if replace else create)


def statement(name: str, **values: str) -> str:
    """The statement of sql/NAME.sql, with ${placeholders} filled from `values`."""
    text = Template((SQL / f"{name}.sql").read_text()).substitute(values)
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))


def overwrite(frame: DataFrame, name: str, path: str, features: str = "") -> None:
    """Replaces what the table `name` at `path` holds, in one commit; its constraints are checked by Delta.

    Where an earlier build had other features the table is defined anew first, in commits of their own; older versions
    can still be read.
    """
    spark = frame.sparkSession
    create_table(spark, name, path, features)
    if set(read(spark, path).dtypes) != set(frame.dtypes):
        _define(spark, name, path, features, replace=True)
    frame.write.format("delta").mode("overwrite").save(path)


def clear(spark: SparkSession, name: str, path: str) -> None:
    """Lets the table `name` at `path` be there, and hold nothing."""
    if not exists(spark, path):
        create_table(spark, name, path)
    elif not read(spark, path).isEmpty():
        spark.sql(f"DELETE FROM delta.`{path}`")


def replace_buckets(frame: DataFrame, path: str, buckets: list[int]) -> None:
    """Replaces some buckets of the samples at `path` by `frame`, which has rows of no others, in one commit."""
    condition = f"bucket IN ({', '.join(map(str, buckets))})"
    frame.write.format("delta").mode("overwrite").option("replaceWhere", condition).save(path)


def restore(spark: SparkSession, path: str, version: int) -> None:
    """Lets the newest version of the table hold what `version` held."""
    spark.sql(f"RESTORE TABLE delta.`{path}` TO VERSION AS OF {version}")


def append(frame: DataFrame, name: str, path: str) -> None:
    """Adds the rows of `frame` to the table `name` at `path`, by the table's columns; others are left out."""
    create_table(frame.sparkSession, name, path)
    columns = read(frame.sparkSession, path).columns
    frame.select(columns).write.format("delta").mode("append").save(path)


def read(spark: SparkSession, path: str, version: int | None = None) -> DataFrame:
    """The table at `path`: its newest version, unless another is given."""
    reader = spark.read.format("delta")
    return (reader if version is None else reader.option("versionAsOf", version)).load(path)


def version(path: str) -> int:
    """The newest version of the table at `path`."""
    return deltalake.DeltaTable(path).version()


def commits(path: str, after: int) -> list[dict]:
    """The commits `after` a version of the table at `path`, the newest first.

    Read by delta-rs, as the trainer does: Spark would plan and run a job for the few files of each log.
    """
    return commits_after(deltalake.DeltaTable(path), after)
