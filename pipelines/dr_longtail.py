"""Learns the domain offsets of all tail domains in Spark tasks, many domains a task.

    spark-submit pipelines/dr_longtail.py --config conf/ml_latest_small.yaml [key=value ...]

Use the settings that training/train.py ran with: they name the model. Buckets are adapted in waves, and each wave ends
in one commit. Run the same command again to resume after the last commit.
"""

from pyspark.sql import SparkSession

from pipelines.engine.session import run_job
from pipelines.tasks.adapt_tail import adapt_tail
from training.config import Config


def dr_longtail(spark: SparkSession, config: Config) -> dict:
    """Runs the whole job and returns its summary. Raises UserError."""
    return adapt_tail(spark, config)


if __name__ == "__main__":
    run_job("dr_longtail", dr_longtail)
