"""Trains inside a Spark cluster: what training/train.py does, its ranks being tasks of a Spark job.

    spark-submit --master spark://... --conf spark.default.parallelism=16 pipelines/train_on_spark.py --config ...

There are spark.default.parallelism ranks. Their executors need this package installed, and ROOT where all can see it.
Where the cluster has not as many cores free within HOROVOD_SPARK_START_TIMEOUT seconds (60), the job says so.
"""

import os

import horovod.spark
from horovod.runner.common.util.timeout import TimeoutException
from pyspark.sql import SparkSession

from pipelines.engine.session import run_job
from training.config import Config
from training.errors import UserError
from training.train import train

START_TIMEOUT = 60  # seconds


def train_on_spark(spark: SparkSession, config: Config) -> dict:
    """Runs all ranks, side by side, and returns the summary. Raises UserError."""
    ranks = spark.sparkContext.defaultParallelism
    patience = int(os.environ.get("HOROVOD_SPARK_START_TIMEOUT", START_TIMEOUT))
    try:
        found = horovod.spark.run(
            _attempt, args=(config,), num_proc=ranks, start_timeout=patience, use_gloo=True, verbose=0
        )
    except TimeoutException:
        raise UserError(
            f"the cluster had no {ranks} cores free within {patience} s, one for each rank: set "
            "spark.default.parallelism to as many as it has, or HOROVOD_SPARK_START_TIMEOUT to wait longer"
        ) from None
    mistakes = [mistake for _, mistake in found if mistake]
    if mistakes:
        raise UserError(mistakes[0])
    summary, _ = found[0]
    del summary["rank"]
    return summary


def _attempt(config: Config) -> tuple[dict | None, str | None]:
    """The summary of this rank, or what mistake of the user's kept it from one; the first rank knows it."""
    try:
        return train(config), None
    except UserError as error:
        return None, str(error)
    except SystemExit:
        return None, None


if __name__ == "__main__":
    run_job("train_on_spark", train_on_spark)
