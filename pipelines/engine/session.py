"""Runs Spark jobs: reads their arguments, starts the session, prints the summary, reports errors."""

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from tempfile import gettempdir
from typing import cast

from py4j.java_gateway import JVMView
from pyspark import SparkContext
from pyspark.sql import DataFrame, SparkSession

from pipelines.engine.jvm import hadoop_path
from training.command import exit_with_user_errors, explaining_full_disk
from training.config import Config, parse_arguments

SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    # keys in the names of folders, such as domain=007, are strings
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # a task writes three files per bucket at once: rows come in the order of files, so the writer need not sort them
    "spark.sql.maxConcurrentOutputFileWriters": "256",
    # persisted frames are read only a few times, and keys hardly compress
    "spark.sql.inMemoryColumnarStorage.compressed": "false",
}
TASKS_PER_CORE = 4
ROWS_PER_TASK = 400_000  # hash tables of more strings are slow, and larger ones spill to disk
TASKS = "spark.sql.shuffle.partitions"


def spark_session(name: str) -> SparkSession:
    """Returns the session that spark-submit prepared, with the settings that all jobs rely on.

    Settings of spark-submit win. By default a shuffle has four tasks per core, since Spark's 200 take minutes over a
    small input. A join hashes its smaller side if the partitions fit in memory: sorting both sides by strings costs
    more.
    """
    builder = SparkSession.builder.appName(name)
    builder = builder.config("spark.ui.showConsoleProgress", str(sys.stderr.isatty()).lower())
    for key, value in SETTINGS.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    context = session.sparkContext
    given = dict(context.getConf().getAll())
    tasks = TASKS_PER_CORE * context.defaultParallelism
    defaults = {
        TASKS: str(tasks),
        "spark.databricks.delta.snapshotPartitions": str(tasks),
        "spark.sql.adaptive.maxShuffledHashJoinLocalMapThreshold": "64m",
        # rows of ids are small: a task of Spark's default 64m would hold nine million, and its hash tables would spill
        "spark.sql.adaptive.advisoryPartitionSizeInBytes": "16m",
    }
    for key, value in defaults.items():
        if key not in given:
            session.conf.set(key, value)
    return session


def size_tasks(spark: SparkSession, rows: int) -> None:
    """Raises the number of shuffle tasks for a job over many `rows`, unless spark-submit sets the number."""
    context = spark.sparkContext
    if not context.getConf().contains(TASKS):
        spark.conf.set(TASKS, max(TASKS_PER_CORE * context.defaultParallelism, -(-rows // ROWS_PER_TASK)))


@contextmanager
def persisting() -> Iterator[Callable[[DataFrame], DataFrame]]:
    """Yields a function that persists a frame until the block ends.

    Spark answers every equal query from a persisted frame. A frame left behind would hide changed files from the next
    job of a notebook.
    """
    with ExitStack() as frames:

        def persist(frame: DataFrame) -> DataFrame:
            frames.callback(frame.unpersist)
            return frame.persist()

        yield persist


@contextmanager
def temporary_checkpoints(spark: SparkSession, path: str) -> Iterator[None]:
    """Sets the folder `path` for Spark's checkpoints, and removes it when the block ends."""
    spark.sparkContext.setCheckpointDir(path)
    try:
        yield
    finally:
        folder, file_system = hadoop_path(spark, path)
        file_system.delete(folder, True)


class SubmitStderr(io.TextIOBase):
    """Writes to the stderr of spark-submit, which otherwise sends the Python driver's stderr to stdout."""

    def __init__(self) -> None:
        SparkContext._ensure_initialized()
        self._stream = cast(JVMView, SparkContext._jvm).java.lang.System.err

    def write(self, text: str) -> int:
        """Writes `text` and returns its length."""
        self._stream.print(text)
        return len(text)

    def flush(self) -> None:
        """Flushes the stream."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Tells whether the stderr of spark-submit, the parent process, is a terminal."""
        try:
            return os.readlink(f"/proc/{os.getppid()}/fd/2").startswith(("/dev/pts/", "/dev/tty", "/dev/console"))
        except OSError:  # not Linux
            return False


def run_job(name: str, job: Callable[[SparkSession, Config], dict]) -> None:
    """Runs `job` as a command: prints its summary as JSON in the last line; a UserError exits with code 2."""

    def command() -> None:
        config = parse_arguments(sys.argv[1:])
        spark = spark_session(name)
        scratch = spark.conf.get("spark.local.dir", gettempdir())
        try:
            with explaining_full_disk(f"root {config.root} or spark.local.dir {scratch}"):
                summary = job(spark, config)
        finally:
            spark.stop()
        print(json.dumps(summary), flush=True)

    if "PYSPARK_GATEWAY_PORT" in os.environ:  # started by spark-submit
        sys.stderr = SubmitStderr()
    exit_with_user_errors(command)
