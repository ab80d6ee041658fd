"""Checks that the sources share: is the input there, and does it have the columns?"""

from collections.abc import Iterable

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StringType, StructField, StructType

from training.errors import UserError

MALFORMED = "_malformed"


def require_path(spark: SparkSession, path: str) -> str:
    """Returns `path` if something lies there, on any file system that Spark knows. Raises UserError."""
    jvm_path = spark._jvm.org.apache.hadoop.fs.Path(path)
    file_system = jvm_path.getFileSystem(spark._jsc.hadoopConfiguration())
    if not file_system.globStatus(jvm_path):
        raise UserError(f"input {path} does not exist: set data.path")
    return path


def require_columns(frame: DataFrame, columns: Iterable[str], path: str) -> None:
    """Raises UserError if `frame`, read from `path`, lacks one of `columns`."""
    for column in columns:
        if column not in frame.columns:
            present = ", ".join(name for name in frame.columns if name != MALFORMED)
            raise UserError(f'input {path} has no column "{column}": it has {present}')


def read_csv_strings(spark: SparkSession, path: str) -> DataFrame:
    """A CSV (RFC 4180, with a header), every value as its string; a folder holds files of one header.

    The line itself is in `_malformed` where it has too few or too many values.
    """
    require_path(spark, path)
    header = spark.read.csv(path, header=True, escape='"').columns
    schema = StructType([StructField(name, StringType()) for name in [*header, MALFORMED]])
    return spark.read.csv(
        path, schema, header=True, escape='"', enforceSchema=False, columnNameOfCorruptRecord=MALFORMED
    )
