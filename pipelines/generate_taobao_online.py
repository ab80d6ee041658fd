"""Draws a log with the shape of Taobao-online and a planted truth, to measure quality at scale.

    spark-submit pipelines/generate_taobao_online.py --config conf/taobao_online.yaml data.scale=0.01

Writes the log to the Delta table data.path (user, item, domain, label, logit). Under ROOT/tables it writes user_vectors
and item_vectors (key, vector), and truth: the best possible AUC of each domain, that of the true logit.
"""

import time

from delta.tables import DeltaTable
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.engine.rows import aggregate
from pipelines.engine.session import run_job
from pipelines.sources.synthetic_log import ITEM, USER, Shape
from pipelines.sources.synthetic_tables import best_auc_by_domain, synthetic_samples, synthetic_vectors
from training.column_names import KEYS, LABEL
from training.config import Config
from training.errors import UserError


def generate(spark: SparkSession, config: Config) -> dict:
    """Draws the log, the vectors and the truth, writes their tables and returns the summary. Raises UserError."""
    start = time.monotonic()
    shape = Shape.of(config.data)
    _refuse_other_tables(spark, config.data.path)
    samples = synthetic_samples(spark, shape, config)
    log = samples.select(*(_key(name, name).alias(name) for name in KEYS), LABEL, "logit")
    log.write.format("delta").mode("overwrite").save(config.data.path)
    for name, owner, count in (("user", USER, shape.users), ("item", ITEM, shape.items)):
        vectors = synthetic_vectors(spark, owner, count, config.seed).select(_key(name, "id").alias("key"), "vector")
        tables.overwrite(vectors, "vectors", config.table(f"{name}_vectors"))
    best = best_auc_by_domain(spark, shape, config)
    best = best.select(_key("domain", "domain").alias("domain_key"), "rows", "positives", "best_auc")
    truth = tables.write(best, "truth", config)
    totals = aggregate(truth, F.sum("positives").alias("positives"), F.avg("best_auc").alias("best_auc"))
    return {
        "samples": shape.samples,
        "positives": totals["positives"],
        "domains": shape.domains,
        "users": shape.users,
        "items": shape.items,
        "conflict": config.data.synthetic.conflict,
        "best_mean_domain_auc": totals["best_auc"],
        "seconds": round(time.monotonic() - start, 3),
    }


def _refuse_other_tables(spark: SparkSession, path: str) -> None:
    """Raises UserError if the table at `path` has no column logit: it may be a log of the user."""
    if DeltaTable.isDeltaTable(spark, path) and "logit" not in tables.read(spark, path).columns:
        raise UserError(f"data.path {path} holds a table that is not a synthetic log: set data.path to a new folder")


def _key(name: str, number: str) -> Column:
    """Returns the key of the user, item or domain with a number: u7, i7, d7."""
    return F.concat(F.lit(name[0]), number)


if __name__ == "__main__":
    run_job("generate_taobao_online", generate)
