"""Whether all files of a log have the same columns.

Spark takes the columns of one file for those of all: of a Parquet file that lacks one it reads nulls, and in the midst
of the build it stops at one of another type, or at a CSV with another header.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from py4j.java_gateway import JavaObject
from pyspark.sql import DataFrame, SparkSession

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
                f'file {file} begins with the line "{header}", and {first} with "{headers[first]}": write the files of '
                "the log with the same columns in the same order"
            )


def require_one_type(frame: DataFrame, columns: Iterable[str]) -> None:
    """Raises UserError if a Parquet file of `frame` lacks one of `columns`, or has it with another type than the first.

    A column that no file has stands in the names of the folders.
    """
    types = _of_each_file(frame, _types)
    first = min(types, default="")
    for column in columns:
        expected = types[first].get(column, "none") if first else ""
        for file, of_file in types.items():
            found = of_file.get(column, "none")
            if found != expected:
                raise UserError(
                    f'file {file} has {found} as the type of "{column}", and {first} has {expected}: write the files '
                    "of the log with the same columns"
                )


def _of_each_file(frame: DataFrame, ask: Callable[[SparkSession, JavaObject], T]) -> dict[str, T]:
    """What `ask` says of the path of each file that `frame` is read from."""
    spark = frame.sparkSession

    def answer(file: str) -> T:
        return ask(spark, spark._jvm.org.apache.hadoop.fs.Path(spark._jvm.java.net.URI(file)))

    files = frame.inputFiles()
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(files, pool.map(answer, files), strict=True))


def _first_line(spark: SparkSession, path: JavaObject) -> str | None:
    jvm, conf = spark._jvm, spark._jsc.hadoopConfiguration()
    stream = path.getFileSystem(conf).open(path)
    codec = jvm.org.apache.hadoop.io.compress.CompressionCodecFactory(conf).getCodec(path)
    content = stream if codec is None else codec.createInputStream(stream)
    try:
        return jvm.java.io.BufferedReader(jvm.java.io.InputStreamReader(content, "UTF-8")).readLine()
    finally:
        content.close()


def _types(spark: SparkSession, path: JavaObject) -> dict[str, str]:
    """The type of each column of a Parquet file."""
    hadoop = spark._jvm.org.apache.parquet.hadoop
    source = hadoop.util.HadoopInputFile.fromPath(path, spark._jsc.hadoopConfiguration())
    reader = hadoop.ParquetFileReader.open(source)
    try:
        fields = reader.getFooter().getFileMetaData().getSchema().getFields()
        # a field is written as "optional int64 item (UNIX..)", that of a list on several lines
        return {field.getName(): " ".join(field.toString().split()[1:]) for field in fields}
    finally:
        reader.close()
