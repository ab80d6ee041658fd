"""Trains inside a Spark cluster: the ranks of training/train.py are tasks of a Spark job.

    spark-submit --master spark://... --conf spark.default.parallelism=16 pipelines/train_on_spark.py --config ...

spark.default.parallelism is the number of ranks. The executors need this package installed, and all of them must see
ROOT. The job fails if that many cores are not free within HOROVOD_SPARK_START_TIMEOUT seconds (60 unless set).
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
    """Runs all ranks in parallel and returns the summary of rank 0. Raises UserError."""
    ranks = spark.sparkContext.defaultParallelism
    timeout = int(os.environ.get("HOROVOD_SPARK_START_TIMEOUT", START_TIMEOUT))
    try:
        results = horovod.spark.run(
            _run_rank, args=(config,), num_proc=ranks, start_timeout=timeout, use_gloo=True, verbose=0
        )
    except TimeoutException:
        raise UserError(
            f"the cluster had no {ranks} cores free within {timeout} s, one for each rank: set "
            "spark.default.parallelism to as many as it has, or HOROVOD_SPARK_START_TIMEOUT to wait longer"
        ) from None
    errors = [error for _, error in results if error]
    if errors:
        raise UserError(errors[0])
    summary, _ = results[0]
    del summary["rank"]
    return summary


def _run_rank(config: Config) -> tuple[dict | None, str | None]:
    """Trains as one rank. Returns its summary and None, or None and the user error that ended it.

    Only the rank that reports a user error to the others returns its text.
    """
    try:
        return train(config), None
    except UserError as error:
        return None, str(error)
    except SystemExit:
        return None, None


if __name__ == "__main__":
    run_job("train_on_spark", train_on_spark)
