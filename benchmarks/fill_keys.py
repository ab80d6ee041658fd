"""Adds users and items that no sample has, until there are as many as Taobao-online has in all.

    spark-submit benchmarks/fill_keys.py --config conf/taobao_online.yaml [key=value ...]

A build at a small scale then trains tables of the full size.
"""

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.engine.session import run_job
from training.config import Config


def fill(spark: SparkSession, config: Config) -> dict:
    counts = {"users": config.data.synthetic.users, "items": config.data.synthetic.items}
    for name, count in counts.items():
        there = tables.read(spark, config.table(name)).count()
        further = spark.range(there, count).withColumn("key", F.concat(F.lit("further "), "id"))
        tables.append(further, name, config.table(name))
    return counts


if __name__ == "__main__":
    run_job("fill_keys", fill)
