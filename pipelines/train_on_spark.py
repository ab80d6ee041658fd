"""Trains inside a Spark cluster: the ranks of training/train.py are tasks of a Spark job.

    spark-submit --master spark://... --conf spark.default.parallelism=16 pipelines/train_on_spark.py --config ...

spark.default.parallelism is the number of ranks. The executors need this package installed, and all of them must see
ROOT. The job fails if that many cores are not free within HOROVOD_SPARK_START_TIMEOUT seconds (60 unless set).
"""

from pyspark.sql import SparkSession

from pipelines.engine.session import run_job
from training.config import Config
from training.distributed.spark_ranks import run_on_spark
from training.errors import UserError
from training.train import train


def train_on_spark(spark: SparkSession, config: Config) -> dict:
    """Runs all ranks in parallel and returns the summary of rank 0. Raises UserError."""
    results = run_on_spark(_run_rank, (config,), spark.sparkContext.defaultParallelism)
    errors = [error for _, error in results if error]
    if errors:
        raise UserError(errors[0])
    summary, _ = results[0]
    assert summary is not None
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
