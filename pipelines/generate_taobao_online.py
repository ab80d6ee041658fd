"""Draws a log with the shape of Taobao-online and a planted truth, to measure quality at scale.

    spark-submit pipelines/generate_taobao_online.py --config conf/taobao_online.yaml data.scale=0.01

Writes the log to the Delta table data.path (user, item, domain, label, logit). Under ROOT/tables it writes user_vectors
and item_vectors (key, vector), and truth: the best possible AUC of each domain, that of the true logit.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise

import numpy as np
import pyarrow as pa
from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.engine.rows import aggregate
from pipelines.engine.session import run_job
from pipelines.sources.synthetic_log import ITEM, USER, Log, Shape, draw_log, rows_of, vectors
from training.column_names import KEYS, LABEL
from training.config import Config
from training.errors import UserError
from training.metrics import domain_auc

ROWS_PER_CHUNK = 1 << 16  # fits into the cache of a core
ROWS_PER_TASK = 1 << 21
LOG = "domain long, user long, item long, label tinyint, logit double"
TRUTH = "domain long, rows long, positives long, best_auc double"

DrawColumns = Callable[[np.ndarray], dict]  # of row numbers; returns columns by name


def generate(spark: SparkSession, config: Config) -> dict:
    """Draws the log, the vectors and the truth, writes their tables and returns the summary. Raises UserError."""
    start = time.monotonic()
    shape = Shape.of(config.data)
    _refuse_other_tables(spark, config.data.path)
    log = draw(spark, shape.samples, lambda rows: vars(_samples(rows, shape, config)), LOG)
    keyed = log.select(*(_key(name, name).alias(name) for name in KEYS), LABEL, "logit")
    keyed.write.format("delta").mode("overwrite").save(config.data.path)
    for name, owner, count in (("user", USER, shape.users), ("item", ITEM, shape.items)):
        drawn = draw(spark, count, _vector_columns(owner, config.seed), "id long, vector array<float>")
        keyed = drawn.select(_key(name, "id").alias("key"), "vector")
        tables.overwrite(keyed, "vectors", config.table(f"{name}_vectors"))
    best = _best_auc(spark, shape, config)
    keyed = best.select(_key("domain", "domain").alias("domain_key"), "rows", "positives", "best_auc")
    tables.overwrite(keyed, "truth", config.table("truth"))
    truth = tables.read(spark, config.table("truth"))
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
    """Raises UserError if the table at `path` has no column logit, and so is a log of the user."""
    if DeltaTable.isDeltaTable(spark, path) and "logit" not in tables.read(spark, path).columns:
        raise UserError(f"data.path {path} holds a table that is not a synthetic log: set data.path to a new folder")


def draw(spark: SparkSession, count: int, columns: DrawColumns, schema: str) -> DataFrame:
    """Draws `count` rows: calls `columns` with arrays of row numbers, in tasks of up to ROWS_PER_TASK rows."""

    def make(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        for numbers in _chunks(batches):
            yield pa.RecordBatch.from_pydict(columns(numbers))

    tasks = max(-(-count // ROWS_PER_TASK), min(count, spark.sparkContext.defaultParallelism))
    return spark.range(0, count, 1, tasks).mapInArrow(make, schema)


def _samples(rows: np.ndarray, shape: Shape, config: Config) -> Log:
    return draw_log(rows, shape, config.seed, config.data.synthetic.conflict, config.data.synthetic.noise)


def _best_auc(spark: SparkSession, shape: Shape, config: Config) -> DataFrame:
    """Computes the AUC of the true logit in each domain: TRUTH.

    Each task draws the samples of its domains again, since sorting the whole log by domain takes twice as long.
    """
    edges = np.flatnonzero(np.diff(shape.ends // ROWS_PER_TASK)) + 1
    domains_of_task = [range(*pair) for pair in pairwise([0, *edges.tolist(), shape.domains])]

    def make(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        for task in chain.from_iterable(batch.column(0).to_pylist() for batch in batches):
            yield pa.RecordBatch.from_pydict(_best_auc_of(domains_of_task[task], shape, config))

    tasks = len(domains_of_task)
    return spark.range(0, tasks, 1, tasks).mapInArrow(make, TRUTH)


def _best_auc_of(domains: range, shape: Shape, config: Config) -> dict:
    rows = rows_of(domains, shape, config.seed)
    chunks = [_samples(rows[at : at + ROWS_PER_CHUNK], shape, config) for at in range(0, len(rows), ROWS_PER_CHUNK)]
    domain, logit, label = (
        np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in ("domain", "logit", "label")
    )
    result = domain_auc(domain, logit, label)
    return {
        "domain": result.domain_id,
        "rows": result.rows,
        "positives": np.bincount(domain - domains.start, weights=label).astype(np.int64),
        "best_auc": pa.array(result.auc, from_pandas=True),
    }


def _vector_columns(owner: int, seed: int) -> DrawColumns:
    def columns(ids: np.ndarray) -> dict:
        values = vectors(owner, ids, seed).astype(np.float32)
        offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
        return {"id": ids, "vector": pa.ListArray.from_arrays(offsets, pa.array(values.ravel()))}

    return columns


def _key(name: str, number: str) -> Column:
    """Returns the key of the user, item or domain with a number: u7, i7, d7."""
    return F.concat(F.lit(name[0]), number)


def _chunks(batches: Iterable[pa.RecordBatch]) -> Iterator[np.ndarray]:
    """Joins the row numbers of small batches to arrays of at least ROWS_PER_CHUNK, but for the last."""
    waiting: list[np.ndarray] = []
    count = 0
    for batch in batches:
        waiting.append(batch.column(0).to_numpy())
        count += len(waiting[-1])
        if count >= ROWS_PER_CHUNK:
            yield np.concatenate(waiting)
            waiting, count = [], 0
    if waiting:
        yield np.concatenate(waiting)


if __name__ == "__main__":
    run_job("generate_taobao_online", generate)
