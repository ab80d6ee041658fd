"""What every Spark job shares: its arguments, its session, its summary line, its errors."""

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from tempfile import gettempdir

from pyspark import SparkContext
from pyspark.sql import DataFrame, SparkSession

from training.command import exit_with_user_errors, explaining_full_disk
from training.config import Config, parse_arguments

SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    # a log in folders domain=007, domain=8: keys are strings
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.ui.showConsoleProgress": "true",
    # rows come in the order of files, and the writer need not sort them: a task writes three files a bucket
    "spark.sql.maxConcurrentOutputFileWriters": "256",
    # frames that are persisted are read a few times only, and keys hardly get smaller
    "spark.sql.inMemoryColumnarStorage.compressed": "false",
}
TASKS_PER_CORE = 4
ROWS_A_TASK = 400_000  # hash tables of more strings are slow, and larger ones go to disk
TASKS = "spark.sql.shuffle.partitions"


def spark_session(name: str) -> SparkSession:
    """The session that spark-submit prepared, with the settings that all jobs rely on.

    Unless told otherwise, a shuffle has four tasks a core: Spark's own 200 take minutes over a small input. A join
    hashes its smaller side where the parts of that fit in memory, which costs less than to sort both sides by strings.
    """
    builder = SparkSession.builder.appName(name)
    for key, value in SETTINGS.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    context = session.sparkContext
    given = dict(context.getConf().getAll())
    tasks = TASKS_PER_CORE * context.defaultParallelism
    defaults = {
        TASKS: tasks,
        "spark.databricks.delta.snapshotPartitions": tasks,
        "spark.sql.adaptive.maxShuffledHashJoinLocalMapThreshold": "64m",
        # rows of ids are small: tasks of Spark's own 64m have nine million of them, and hash tables that go to disk
        "spark.sql.adaptive.advisoryPartitionSizeInBytes": "16m",
    }
    for key, value in defaults.items():
        if key not in given:
            session.conf.set(key, value)
    return session


def size_tasks(spark: SparkSession, rows: int) -> None:
    """Lets shuffles of a job over so many rows have more tasks where they need them, unless told how many."""
    context = spark.sparkContext
    if not context.getConf().contains(TASKS):
        spark.conf.set(TASKS, max(TASKS_PER_CORE * context.defaultParallelism, -(-rows // ROWS_A_TASK)))


@contextmanager
def persisting() -> Iterator[Callable[[DataFrame], DataFrame]]:
    """Gives a function that persists a frame until the block ends.

    Spark answers from a persisted frame whatever looks like it: left behind, it would hide from the next job of a
    notebook that the files have changed.
    """
    with ExitStack() as frames:

        def persist(frame: DataFrame) -> DataFrame:
            frames.callback(frame.unpersist)
            return frame.persist()

        yield persist


class SubmitStderr(io.TextIOBase):
    """The stderr of spark-submit, which sends that of its Python driver to stdout, with the summary."""

    def __init__(self) -> None:
        SparkContext._ensure_initialized()
        self._stream = SparkContext._jvm.java.lang.System.err

    def write(self, text: str) -> int:
        self._stream.print(text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


def run_job(name: str, job: Callable[[SparkSession, Config], dict]) -> None:
    """Runs `job` as a command: the last line on stdout is its summary as JSON, a UserError is exit code 2."""

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
