"""Checks that all files of a log have the same columns.

Spark assumes that every file has the columns of the first one. It reads nulls from a Parquet file that lacks a column,
and a column of another type or a CSV with another header stops a build half-way.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from py4j.java_gateway import JavaObject
from pyspark.sql import DataFrame, SparkSession

from pipelines.engine.jvm import hadoop_configuration, jvm
from training.errors import UserError

T = TypeVar("T")
THREADS = 8


def require_one_header(frame: DataFrame) -> None:
    """Raises UserError if the CSV files of `frame` begin with different lines."""
    headers = _of_each_file(frame, _first_line)
    first = min(headers, default="")
    for file, header in headers.items():
        if header != headers[first]:
            raise UserError(
                f'file {file} begins with the line "{header}", but {first} with "{headers[first]}": write all files of '
                "the log with the same columns in the same order"
            )


def require_one_type(frame: DataFrame, columns: Iterable[str]) -> None:
    """Raises UserError unless all Parquet files of `frame` have `columns` with the types of the first file.

    A column that no file has comes from the names of folders, and is accepted.
    """
    types = _of_each_file(frame, _column_types)
    first = min(types, default="")
    for column in columns:
        expected = types[first].get(column, "none") if first else ""
        for file, of_file in types.items():
            column_type = of_file.get(column, "none")
            if column_type != expected:
                raise UserError(
                    f'column "{column}" is "{column_type}" in file {file}, but "{expected}" in {first}: write '
                    "all files of the log with the same columns"
                )


def _of_each_file(frame: DataFrame, ask: Callable[[SparkSession, JavaObject], T]) -> dict[str, T]:
    """Calls `ask` with the path of each file that `frame` reads, and returns its answers by file."""
    spark = frame.sparkSession
    gateway = jvm(spark)

    def answer(file: str) -> T:
        return ask(spark, gateway.org.apache.hadoop.fs.Path(gateway.java.net.URI(file)))

    files = frame.inputFiles()
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(files, pool.map(answer, files), strict=True))


def _first_line(spark: SparkSession, path: JavaObject) -> str | None:
    gateway, conf = jvm(spark), hadoop_configuration(spark)
    stream = path.getFileSystem(conf).open(path)
    codec = gateway.org.apache.hadoop.io.compress.CompressionCodecFactory(conf).getCodec(path)
    content = stream if codec is None else codec.createInputStream(stream)
    try:
        return gateway.java.io.BufferedReader(gateway.java.io.InputStreamReader(content, "UTF-8")).readLine()
    finally:
        content.close()


def _column_types(spark: SparkSession, path: JavaObject) -> dict[str, str]:
    """Returns the type of each column of a Parquet file."""
    hadoop = jvm(spark).org.apache.parquet.hadoop
    source = hadoop.util.HadoopInputFile.fromPath(path, hadoop_configuration(spark))
    reader = hadoop.ParquetFileReader.open(source)
    try:
        fields = reader.getFooter().getFileMetaData().getSchema().getFields()
        # a field prints as "optional int64 item (UNIX..)", a list on several lines
        return {field.getName(): " ".join(field.toString().split()[1:]) for field in fields}
    finally:
        reader.close()
