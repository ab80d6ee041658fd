"""Adds users and items without samples, until there are as many as in the whole of Taobao-online.

    spark-submit benchmarks/fill_keys.py --config conf/taobao_online.yaml [key=value ...]

After it, a small build trains embedding tables of the full size.
"""

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.engine.session import run_job
from training.config import Config


def fill(spark: SparkSession, config: Config) -> dict:
    """Appends the missing users and items to their tables; returns how many each table has now."""
    counts = {"users": config.data.synthetic.users, "items": config.data.synthetic.items}
    for name, count in counts.items():
        rows = tables.read(spark, config.table(name)).count()
        further = spark.range(rows, count).withColumn("key", F.concat(F.lit("further "), "id"))
        tables.append(further, name, config.table(name))
    return counts


if __name__ == "__main__":
    run_job("fill_keys", fill)
