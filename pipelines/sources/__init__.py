"""Readers of raw logs, one module a source.

A source is a function (spark, DataConfig) -> DataFrame of strings, as they stand in the input, with the columns

    user, item, domain   the keys
    label                where the log has one: a number; absent, every row is a positive
    time                 where the log has one: a number or a timestamp; the latest of equal rows is kept
    event                where one (user, item, domain) may hold several samples: what tells them apart
    split                where the log brings its own: train, val or test
    (features)           those of data.features, by their names: strings, or arrays of strings
    _malformed           a line that could not be parsed, else null
    _fault               where the source itself refuses rows: a struct (column, reason), else null

A new source is one file here and one line in SOURCES.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession

from pipelines.sources import amazon, movielens, movielens_1m, table, theme_click
from training.config import DataConfig
from training.errors import UserError


@dataclass(frozen=True)
class Source:
    read: Callable[[SparkSession, DataConfig], DataFrame]
    positive_at: float | None = None  # from where a label is positive; None: it is 0 or 1; data.positive_at wins
    vectors: Callable[[SparkSession, DataConfig], dict[str, DataFrame]] | None = None  # (key, vector) of user and item


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
    """The raw log that `data` names and the threshold of its labels. Raises UserError."""
    if data.source not in SOURCES:
        raise UserError(f'data.source "{data.source}" does not exist: choose one of {", ".join(SOURCES)}')
    source = SOURCES[data.source]
    threshold = data.positive_at if data.positive_at is not None else source.positive_at
    return source.read(spark, data), threshold


def read_vectors(spark: SparkSession, data: DataConfig) -> dict[str, DataFrame]:
    """The pre-trained vectors (key, vector) of user and item that the source of `data` brings, if it does."""
    vectors = SOURCES[data.source].vectors
    return vectors(spark, data) if vectors is not None else {}
