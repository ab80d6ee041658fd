"""Trains inside a Spark cluster: what training/train.py does, its ranks being tasks of a Spark job.

    spark-submit --master spark://... --conf spark.default.parallelism=16 pipelines/train_on_spark.py --config ...

There are spark.default.parallelism ranks. Their executors need this package installed, and ROOT where all can see it.
"""

import horovod.spark
from pyspark.sql import SparkSession

from pipelines.session import run_job
from training.config import Config
from training.errors import UserError
from training.train import train


def train_on_spark(spark: SparkSession, config: Config) -> dict:
    """Runs all ranks, side by side, and returns the summary. Raises UserError."""
    ranks = spark.sparkContext.defaultParallelism
    found = horovod.spark.run(_attempt, args=(config,), num_proc=ranks, use_gloo=True, verbose=0)
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
