"""Reads raw logs; each source is a module.

A source is a function (spark, DataConfig) -> DataFrame. All values are strings, as written in the input:

    user, item, domain   the keys
    label                optional: a number; without the column, every row is a positive
    time                 optional: a number or a timestamp; of equal rows the latest is kept
    event                optional: tells apart several samples of one (user, item, domain)
    split                optional: train, val or test
    (features)           one column per feature of data.features, by its name: strings, or arrays of strings
    _malformed           the line, if it could not be parsed, else null
    _fault               optional: a struct (column, reason) if the source rejects the row, else null

To add a source, add a file here and a line to SOURCES.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession

from pipelines.sources import amazon, movielens, movielens_1m, table, theme_click
from training.config import DataConfig
from training.errors import UserError


@dataclass(frozen=True)
class Source:
    """Describes how a kind of log is read.

    Attributes:
        read: see the module.
        positive_at: the smallest label of a positive, unless data.positive_at is set; None: labels are 0 or 1.
        vectors: reads pre-trained vectors (key, vector) of user and item; None: the source has none.
    """

    read: Callable[[SparkSession, DataConfig], DataFrame]
    positive_at: float | None = None
    vectors: Callable[[SparkSession, DataConfig], dict[str, DataFrame]] | None = None


SOURCES = {
    "movielens": Source(movielens.read, positive_at=movielens.POSITIVE_AT),
    "movielens_1m": Source(movielens_1m.read, positive_at=movielens.POSITIVE_AT),
    "amazon": Source(amazon.read),
    "theme_click": Source(theme_click.read, vectors=theme_click.read_vectors),
    "csv": Source(table.read_csv),
    "parquet": Source(table.read_parquet),
    "delta": Source(table.read_delta),
}


def read_log(spark: SparkSession, data: DataConfig) -> tuple[DataFrame, float | None]:
    """Reads the raw log that `data` names; returns it with the smallest label of a positive. Raises UserError."""
    if data.source not in SOURCES:
        raise UserError(f'data.source "{data.source}" does not exist: choose one of {", ".join(SOURCES)}')
    source = SOURCES[data.source]
    threshold = data.positive_at if data.positive_at is not None else source.positive_at
    return source.read(spark, data), threshold


def read_vectors(spark: SparkSession, data: DataConfig) -> dict[str, DataFrame]:
    """Reads the pre-trained vectors (key, vector) of user and item; empty if the source of `data` has none."""
    vectors = SOURCES[data.source].vectors
    return vectors(spark, data) if vectors is not None else {}
