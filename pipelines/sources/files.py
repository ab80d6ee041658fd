"""Helps sources: checks paths and columns, selects features, reads CSV files as strings."""

from collections.abc import Iterable

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, StringType, StructField, StructType

from pipelines.engine.jvm import hadoop_path
from pipelines.sources.same_columns import require_one_header
from training.config import DataConfig
from training.errors import UserError

MALFORMED = "_malformed"
FAULT = "_fault"


def require_path(spark: SparkSession, path: str, key: str = "data.path") -> str:
    """Returns `path` if it exists on any file system that Spark knows. Raises UserError, which names `key`."""
    pattern, file_system = hadoop_path(spark, path)
    if not file_system.globStatus(pattern):
        how = "; the first comment of the config file says how to get the data" if key == "data.path" else ""
        raise UserError(f"input {path} does not exist: set {key}{how}")
    return path


def require_columns(frame: DataFrame, columns: Iterable[str], path: str) -> None:
    """Raises UserError if `frame`, read from `path`, lacks one of `columns`."""
    for column in columns:
        if column not in frame.columns:
            present = ", ".join(name for name in frame.columns if name != MALFORMED)
            raise UserError(f'input {path} has no column "{column}": it has {present}')


def feature_columns(frame: DataFrame, data: DataConfig) -> list[Column]:
    """Selects the columns of data.features from `frame`, named after the features: strings, or arrays of strings.

    Raises:
        UserError: a column is missing, or holds arrays for a feature with a single value.
    """
    chosen = []
    for name, feature in data.features.items():
        column = feature.column or name
        require_columns(frame, [column], data.path)
        is_array = isinstance(frame.schema[column].dataType, ArrayType)
        if is_array and feature.kind in ("category", "dense"):
            raise UserError(
                f'input {data.path}: column "{column}" holds arrays, but a {feature.kind} has one value: '
                f"set data.features.{name}.kind to list or sequence"
            )
        chosen.append(F.col(f"`{column}`").cast("array<string>" if is_array else "string").alias(name))
    return chosen


def one_row_each(frame: DataFrame, key: str) -> DataFrame:
    """Keeps one row per key (the smallest), so that a join does not multiply rows; drops `_malformed`."""
    others = [name for name in frame.columns if name not in (key, MALFORMED)]
    return frame.groupBy(key).agg(F.min(F.struct(*others)).alias("_row")).select(key, "_row.*")


def read_csv_strings(spark: SparkSession, path: str, separator: str = ",") -> DataFrame:
    """Reads a CSV file (RFC 4180, with a header), or a folder of files with one header; every value is a string.

    A line with too few or too many values is copied to `_malformed`.
    """
    require_path(spark, path)
    reader = spark.read.options(header=True, sep=separator, escape='"')
    header = reader.csv(path).columns
    schema = StructType([StructField(name, StringType()) for name in [*header, MALFORMED]])
    log = reader.csv(path, schema, enforceSchema=False, columnNameOfCorruptRecord=MALFORMED)
    require_one_header(log)
    return log
