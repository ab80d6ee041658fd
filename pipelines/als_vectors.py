"""Learns user and item vectors from the training positives by alternating least squares (Hu et al., ICDM 2008).

    spark-submit pipelines/als_vectors.py --config conf/ml_latest_small.yaml [key=value ...]

Writes the tables user_vectors and item_vectors (key, vector). Name them in model.user_vectors and model.item_vectors to
use them as frozen features, like the pre-trained vectors of Taobao. Validation and test rows are ignored. A user or
item without a training positive has no vector, and the trainer gives it zeros.
"""

import time

from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.engine.session import persisting, run_job, temporary_checkpoints
from training.config import Config
from training.data.snapshot import take_snapshot
from training.errors import UserError

MOST_IDS = 2**31 - 1  # Spark's ALS takes ids of 32 bits


def als_vectors(spark: SparkSession, config: Config) -> dict:
    """Learns the vectors, writes their tables and returns the summary. Raises UserError."""
    start = time.monotonic()
    snapshot = take_snapshot(config)
    for name, size in snapshot.schema.sizes.items():
        if size > MOST_IDS:
            raise UserError(
                f"{name} has {size} ids, but Spark's ALS takes at most {MOST_IDS}: learn vectors with another tool "
                "and name their tables in model.user_vectors and model.item_vectors"
            )
    samples = tables.read(spark, config.table("samples"), snapshot.version)
    counts = {}
    # without checkpoints, the long lineage of ALS would overflow the stack
    with persisting() as persist, temporary_checkpoints(spark, f"{config.table('als')}_checkpoints"):
        positives = persist(training_positives(samples))
        model = ALS(
            rank=config.als.rank,
            maxIter=config.als.iterations,
            regParam=config.als.regularization,
            alpha=config.als.confidence,
            implicitPrefs=True,
            checkpointInterval=2,
            userCol="user_id",
            itemCol="item_id",
            ratingCol="count",
            seed=config.seed,
        ).fit(positives)
        for name, factors in (("user", model.userFactors), ("item", model.itemFactors)):
            keys = tables.read(spark, config.table(f"{name}s"), snapshot.versions[f"{name}s"])
            vectors = factors.join(keys, "id").select("key", F.col("features").alias("vector"))
            tables.overwrite(vectors, "vectors", config.table(f"{name}_vectors"))
            counts[f"{name}s"] = tables.read(spark, config.table(f"{name}_vectors")).count()
        counts["positives"] = positives.count()
    return {**counts, "rank": config.als.rank, "seconds": round(time.monotonic() - start, 3)}


def training_positives(samples: DataFrame) -> DataFrame:
    """Counts the training positives of each user and item, over all domains.

    | split | user_id | item_id | label | domain_id |      | user_id | item_id | count |
    | train | 0       | 5       | 1     | 1         |  ->  | 0       | 5       | 2.0   |
    | train | 0       | 5       | 1     | 2         |
    | train | 0       | 6       | 0     | 1         |
    | test  | 0       | 7       | 1     | 1         |
    """
    positive = samples.where("split = 'train' AND label = 1")
    return positive.groupBy("user_id", "item_id").agg(F.count("*").cast("float").alias("count"))


if __name__ == "__main__":
    run_job("als_vectors", als_vectors)
