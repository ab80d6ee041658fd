"""Draws a log with the shape of Taobao-online and a planted truth, for build_domains and to judge quality at scale.

    spark-submit pipelines/generate_taobao_online.py --config conf/taobao_online.yaml data.scale=0.01

Writes the Delta table data.path (user, item, domain, label, logit), and under ROOT/tables user_vectors and item_vectors
(key, vector) and truth: the best possible AUC of each domain, which is that of the true logit over all its samples.
"""

import time
from collections.abc import Callable, Iterator
from itertools import chain, pairwise

import numpy as np
import pyarrow as pa
from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.engine.session import run_job
from pipelines.sources.synthetic_log import ITEM, USER, Log, Shape, draw_log, rows_of, vectors
from training.config import Config
from training.errors import UserError
from training.metrics import domain_auc

ROWS_AT_A_TIME = 1 << 16  # what a core's cache holds
ROWS_A_TASK = 1 << 21
LOG = "domain long, user long, item long, label tinyint, logit double"
TRUTH = "domain long, rows long, positives long, best_auc double"

Columns = Callable[[np.ndarray], dict]  # numbers -> column by name


def generate(spark: SparkSession, config: Config) -> dict:
    """Runs the whole job and returns its summary. Raises UserError."""
    start = time.monotonic()
    shape = Shape.of(config.data)
    _refuse_other_tables(spark, config.data.path)
    log = draw(spark, shape.samples, lambda rows: vars(_samples(rows, shape, config)), LOG)
    keyed = log.select(*(_key(name, name).alias(name) for name in ("user", "item", "domain")), "label", "logit")
    keyed.write.format("delta").mode("overwrite").save(config.data.path)
    for name, owner, count in (("user", USER, shape.users), ("item", ITEM, shape.items)):
        drawn = draw(spark, count, _vector_columns(owner, config.seed), "id long, vector array<float>")
        keyed = drawn.select(_key(name, "id").alias("key"), "vector")
        tables.overwrite(keyed, "vectors", config.table(f"{name}_vectors"))
    best = _best_auc(spark, shape, config)
    keyed = best.select(_key("domain", "domain").alias("domain_key"), "rows", "positives", "best_auc")
    tables.overwrite(keyed, "truth", config.table("truth"))
    truth = tables.read(spark, config.table("truth"))
    found = truth.agg(F.sum("positives").alias("positives"), F.avg("best_auc").alias("best_auc")).first()
    return {
        "samples": shape.samples,
        "positives": found["positives"],
        "domains": shape.domains,
        "users": shape.users,
        "items": shape.items,
        "conflict": config.data.synthetic.conflict,
        "best_mean_domain_auc": found["best_auc"],
        "seconds": round(time.monotonic() - start, 3),
    }


def _refuse_other_tables(spark: SparkSession, path: str) -> None:
    """Raises UserError if there is a table of other columns at `path`: somebody's own log."""
    if DeltaTable.isDeltaTable(spark, path) and "logit" not in tables.read(spark, path).columns:
        raise UserError(f"data.path {path} has a table that is no synthetic log: give the path of a new one")


def draw(spark: SparkSession, count: int, columns: Columns, schema: str) -> DataFrame:
    """One row for each number below `count`: what `columns` makes of an array of numbers, in tasks of some millions."""

    def make(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for numbers in _chunks(batches):
            yield pa.RecordBatch.from_pydict(columns(numbers))

    tasks = max(-(-count // ROWS_A_TASK), min(count, spark.sparkContext.defaultParallelism))
    return spark.range(0, count, 1, tasks).mapInArrow(make, schema)


def _samples(rows: np.ndarray, shape: Shape, config: Config) -> Log:
    return draw_log(rows, shape, config.seed, config.data.synthetic.conflict, config.data.synthetic.noise)


def _best_auc(spark: SparkSession, shape: Shape, config: Config) -> DataFrame:
    """The AUC that the true logit has in each domain: TRUTH.

    A task draws all samples of its domains once more: to sort the whole log by domain takes twice as long.
    """
    edges = np.flatnonzero(np.diff(shape.ends // ROWS_A_TASK)) + 1
    parts = [range(*pair) for pair in pairwise([0, *edges.tolist(), shape.domains])]

    def make(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for number in chain.from_iterable(batch.column(0).to_pylist() for batch in batches):
            yield pa.RecordBatch.from_pydict(_best_of(parts[number], shape, config))

    return spark.range(0, len(parts), 1, len(parts)).mapInArrow(make, TRUTH)


def _best_of(domains: range, shape: Shape, config: Config) -> dict:
    rows = rows_of(domains, shape, config.seed)
    chunks = [_samples(rows[at : at + ROWS_AT_A_TIME], shape, config) for at in range(0, len(rows), ROWS_AT_A_TIME)]
    domain, logit, label = (
        np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in ("domain", "logit", "label")
    )
    found = domain_auc(domain, logit, label)
    return {
        "domain": found.domain_id,
        "rows": found.rows,
        "positives": np.bincount(domain - domains.start, weights=label).astype(np.int64),
        "best_auc": pa.array(found.auc, from_pandas=True),
    }


def _vector_columns(owner: int, seed: int) -> Columns:
    def columns(ids: np.ndarray) -> dict:
        values = vectors(owner, ids, seed).astype(np.float32)
        offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
        return {"id": ids, "vector": pa.ListArray.from_arrays(offsets, pa.array(values.ravel()))}

    return columns


def _key(name: str, number: str) -> Column:
    """The key of the user, item or domain with a number: u7, i7, d7."""
    return F.concat(F.lit(name[0]), number)


def _chunks(batches: Iterator[pa.RecordBatch]) -> Iterator[np.ndarray]:
    """The ids of small batches, many at a time."""
    waiting, count = [], 0
    for batch in batches:
        waiting.append(batch.column(0).to_numpy())
        count += len(waiting[-1])
        if count >= ROWS_AT_A_TIME:
            yield np.concatenate(waiting)
            waiting, count = [], 0
    if waiting:
        yield np.concatenate(waiting)


if __name__ == "__main__":
    run_job("generate_taobao_online", generate)
