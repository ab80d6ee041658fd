"""Any CSV, Parquet or Delta table; data.columns names the columns."""

import sys
from dataclasses import asdict
from pathlib import PurePosixPath

from py4j.java_gateway import JavaObject
from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.sources.files import MALFORMED, feature_columns, read_csv_strings, require_columns, require_path
from pipelines.sources.same_columns import require_one_type
from training.config import DataConfig
from training.errors import UserError


def read_csv(spark: SparkSession, data: DataConfig) -> DataFrame:
    return select_columns(read_csv_strings(spark, data.path), data)


def read_parquet(spark: SparkSession, data: DataConfig) -> DataFrame:
    log = load(spark, data.path, "parquet")
    selected = select_columns(log, data)
    features = (feature.column or name for name, feature in data.features.items())
    require_one_type(log, [*column_names(data).values(), *features])
    return selected


def read_delta(spark: SparkSession, data: DataConfig) -> DataFrame:
    """The table; with data.since_version only the files that it has and that version has not.

    Rows that a file was rewritten with are read again. Where that version is gone, all rows are read.
    """
    table = load(spark, data.path, "delta")
    if data.since_version is None:
        return select_columns(table, data)
    try:
        before = spark.read.option("versionAsOf", data.since_version).format("delta").load(data.path).inputFiles()
    except (AnalysisException, Py4JJavaError):
        print(f"input {data.path}: version {data.since_version} is gone, all rows are read", file=sys.stderr)
        before = []
    added = {PurePosixPath(path).name for path in set(table.inputFiles()) - set(before)}
    return select_columns(table.where(F.col("_metadata.file_name").isin(sorted(added))), data)


def load(spark: SparkSession, path: str, kind: str, key: str = "data.path") -> DataFrame:
    """The table of this kind at `path`, which the config names by `key`. Raises UserError."""
    require_path(spark, path, key)
    try:
        return spark.read.format(kind).load(path)
    except AnalysisException as error:
        reason = error.getCondition()
    except Py4JJavaError as error:
        reason = _root_cause(error.java_exception)
    raise UserError(f"input {path} is not a {kind} table that can be read: {reason}")


def _root_cause(error: JavaObject) -> str:
    while error.getCause() is not None:
        error = error.getCause()
    return str(error.getMessage()).splitlines()[0]


def column_names(data: DataConfig) -> dict[str, str]:
    """By its name in the pipeline each column that the config names."""
    return {name: column for name, column in asdict(data.columns).items() if column is not None}


def select_columns(frame: DataFrame, data: DataConfig) -> DataFrame:
    """The configured columns as strings, under their names in the pipeline, and those of features."""
    columns = column_names(data)
    require_columns(frame, columns.values(), data.path)
    chosen = [F.col(f"`{column}`").cast("string").alias(name) for name, column in columns.items()]
    malformed = F.col(MALFORMED) if MALFORMED in frame.columns else F.lit(None).cast("string").alias(MALFORMED)
    return frame.select(*chosen, *feature_columns(frame, data), malformed)
