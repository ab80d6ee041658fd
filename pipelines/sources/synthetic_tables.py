"""Draws the synthetic log and its vectors as DataFrames, in tasks of bounded size."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from pipelines.sources.synthetic_log import Log, Shape, draw_log, rows_of, vectors
from training.config import Config
from training.metrics import domain_auc

ROWS_PER_CHUNK = 1 << 16  # fits into the cache of a core
ROWS_PER_TASK = 1 << 21
LOG = "domain long, user long, item long, label tinyint, logit double"
VECTORS = "id long, vector array<float>"
TRUTH = "domain long, rows long, positives long, best_auc double"

DrawColumns = Callable[[np.ndarray], dict]  # of row numbers; returns columns by name


def synthetic_samples(spark: SparkSession, shape: Shape, config: Config) -> DataFrame:
    """Draws the samples of the log: LOG."""
    return _draw(spark, shape.samples, lambda rows: vars(_samples(rows, shape, config)), LOG)


def synthetic_vectors(spark: SparkSession, owner: int, count: int, seed: int) -> DataFrame:
    """Draws the vectors of `count` users (owner = USER) or items (ITEM): VECTORS."""

    def columns(ids: np.ndarray) -> dict:
        values = vectors(owner, ids, seed).astype(np.float32)
        offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
        return {"id": ids, "vector": pa.ListArray.from_arrays(offsets, pa.array(values.ravel()))}

    return _draw(spark, count, columns, VECTORS)


def best_auc_by_domain(spark: SparkSession, shape: Shape, config: Config) -> DataFrame:
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


def _draw(spark: SparkSession, count: int, columns: DrawColumns, schema: str) -> DataFrame:
    """Draws `count` rows: calls `columns` with arrays of row numbers, in tasks of about ROWS_PER_TASK rows."""

    def make(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        for numbers in _chunks(batches):
            yield pa.RecordBatch.from_pydict(columns(numbers))

    tasks = max(-(-count // ROWS_PER_TASK), min(count, spark.sparkContext.defaultParallelism))
    return spark.range(0, count, 1, tasks).mapInArrow(make, schema)


def _samples(rows: np.ndarray, shape: Shape, config: Config) -> Log:
    return draw_log(rows, shape, config.seed, config.data.synthetic.conflict, config.data.synthetic.noise)


def _best_auc_of(domains: range, shape: Shape, config: Config) -> dict:
    """Returns the columns of TRUTH for consecutive domains."""
    rows = rows_of(domains, shape, config.seed)
    starts = range(0, len(rows), ROWS_PER_CHUNK)
    chunks = [_samples(rows[start : start + ROWS_PER_CHUNK], shape, config) for start in starts]
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


def _chunks(batches: Iterable[pa.RecordBatch]) -> Iterator[np.ndarray]:
    """Joins the row numbers of small batches to arrays of at least ROWS_PER_CHUNK; the last may be smaller."""
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
