"""What every Spark job shares: its arguments, its session, its summary line, its errors."""

import json
import sys
from collections.abc import Callable

from pyspark.sql import SparkSession

from training.config import Config, parse_arguments
from training.errors import exit_with_user_errors

SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.ui.showConsoleProgress": "true",
}
TASKS_PER_CORE = 4


def spark_session(name: str) -> SparkSession:
    """The session that spark-submit prepared, with the settings that all jobs rely on.

    Unless told otherwise, a shuffle has four tasks a core: Spark's own 200 take minutes over a small input.
    """
    builder = SparkSession.builder.appName(name)
    for key, value in SETTINGS.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    context = session.sparkContext
    given = dict(context.getConf().getAll())
    for key in ("spark.sql.shuffle.partitions", "spark.databricks.delta.snapshotPartitions"):
        if key not in given:
            session.conf.set(key, TASKS_PER_CORE * context.defaultParallelism)
    return session


def run_job(name: str, job: Callable[[SparkSession, Config], dict]) -> None:
    """Runs `job` as a command: the last line on stdout is its summary as JSON, a UserError is exit code 2."""

    def command() -> None:
        config = parse_arguments(sys.argv[1:])
        spark = spark_session(name)
        try:
            summary = job(spark, config)
        finally:
            spark.stop()
        print(json.dumps(summary), flush=True)

    exit_with_user_errors(command)
