"""What the sources share: is the input there, does it have the columns, and which of them are features?"""

from collections.abc import Iterable

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, StringType, StructField, StructType

from pipelines.sources.same_columns import require_one_header
from training.config import DataConfig
from training.errors import UserError

MALFORMED = "_malformed"
FAULT = "_fault"


def require_path(spark: SparkSession, path: str, key: str = "data.path") -> str:
    """Returns `path` if something lies there, on any file system that Spark knows. Raises UserError."""
    jvm_path = spark._jvm.org.apache.hadoop.fs.Path(path)
    file_system = jvm_path.getFileSystem(spark._jsc.hadoopConfiguration())
    if not file_system.globStatus(jvm_path):
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
    """The columns of `frame` that data.features names, under the features' names: strings, or arrays of strings.

    Raises:
        UserError: one is not there, or is an array where a feature has one value.
    """
    chosen = []
    for name, feature in data.features.items():
        column = feature.column or name
        require_columns(frame, [column], data.path)
        is_array = isinstance(frame.schema[column].dataType, ArrayType)
        if is_array and feature.kind in ("category", "dense"):
            raise UserError(
                f'input {data.path}: column "{column}" holds arrays, and a {feature.kind} has one value: '
                f"set data.features.{name}.kind to list or sequence"
            )
        chosen.append(F.col(f"`{column}`").cast("array<string>" if is_array else "string").alias(name))
    return chosen


def one_row_each(frame: DataFrame, key: str) -> DataFrame:
    """Of several rows with one key the smallest, without what is malformed: for a join that keeps the rows' number."""
    others = [name for name in frame.columns if name not in (key, MALFORMED)]
    return frame.groupBy(key).agg(F.min(F.struct(*others)).alias("_row")).select(key, "_row.*")


def read_csv_strings(spark: SparkSession, path: str, separator: str = ",") -> DataFrame:
    """A CSV (RFC 4180, with a header), every value as its string; a folder holds files of one header.

    The line itself is in `_malformed` where it has too few or too many values.
    """
    require_path(spark, path)
    options = {"header": True, "sep": separator, "escape": '"'}
    header = spark.read.csv(path, **options).columns
    schema = StructType([StructField(name, StringType()) for name in [*header, MALFORMED]])
    log = spark.read.csv(path, schema, enforceSchema=False, columnNameOfCorruptRecord=MALFORMED, **options)
    require_one_header(log)
    return log
