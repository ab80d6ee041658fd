"""Reads any CSV, Parquet or Delta table; data.columns names the columns."""

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
    """Reads a CSV file or a folder of them."""
    return select_columns(read_csv_strings(spark, data.path), data)


def read_parquet(spark: SparkSession, data: DataConfig) -> DataFrame:
    """Reads a Parquet file or a folder of them. Raises UserError if the files have different columns."""
    log = load(spark, data.path, "parquet")
    selected = select_columns(log, data)
    features = (feature.column or name for name, feature in data.features.items())
    require_one_type(log, [*configured_columns(data).values(), *features])
    return selected


def read_delta(spark: SparkSession, data: DataConfig) -> DataFrame:
    """Reads the table; with data.since_version, only the files that were added after that version.

    If a file was rewritten since, its old rows are read again. If that version is no longer readable, all rows are.
    """
    table = load(spark, data.path, "delta")
    if data.since_version is None:
        return select_columns(table, data)
    try:
        before = spark.read.option("versionAsOf", data.since_version).format("delta").load(data.path).inputFiles()
    except (AnalysisException, Py4JJavaError):
        print(f"input {data.path}: version {data.since_version} is not readable, all rows are read", file=sys.stderr)
        before = []
    added = {PurePosixPath(path).name for path in set(table.inputFiles()) - set(before)}
    return select_columns(table.where(F.col("_metadata.file_name").isin(sorted(added))), data)


def load(spark: SparkSession, path: str, kind: str, key: str = "data.path") -> DataFrame:
    """Reads a table of format `kind` at `path`. Raises UserError, which names the config's `key`."""
    require_path(spark, path, key)
    try:
        return spark.read.format(kind).load(path)
    except AnalysisException as error:
        reason = error.getCondition()
    except Py4JJavaError as error:
        reason = _root_cause(error.java_exception)
    raise UserError(f"input {path} cannot be read as a {kind} table: {reason}")


def _root_cause(error: JavaObject) -> str:
    while error.getCause() is not None:
        error = error.getCause()
    return str(error.getMessage()).splitlines()[0]


def configured_columns(data: DataConfig) -> dict[str, str]:
    """Returns the configured column for each name in the pipeline: {"user": "user_id", ...}."""
    return {name: column for name, column in asdict(data.columns).items() if column is not None}


def select_columns(frame: DataFrame, data: DataConfig) -> DataFrame:
    """Selects the configured columns as strings, under their names in the pipeline, and the columns of features."""
    columns = configured_columns(data)
    require_columns(frame, columns.values(), data.path)
    chosen = [F.col(f"`{column}`").cast("string").alias(name) for name, column in columns.items()]
    malformed = F.col(MALFORMED) if MALFORMED in frame.columns else F.lit(None).cast("string").alias(MALFORMED)
    return frame.select(*chosen, *feature_columns(frame, data), malformed)
