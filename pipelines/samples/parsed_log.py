"""Reads the rows of a raw log that a build is about, typed, with the first fault of each."""

from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession

from pipelines.samples.cleaning import read_rows
from pipelines.samples.features import owned_by
from pipelines.samples.row_choice import choose_rows
from pipelines.sources import read_log
from training.column_names import LABEL
from training.config import DataConfig
from training.errors import UserError


@dataclass(frozen=True)
class ParsedLog:
    """Holds the chosen rows of a log.

    Attributes:
        rows: see `cleaning.parse`.
        labelled: whether the log has labels; without them every row is a positive, and negatives are drawn.
        events: whether a (domain, user, item) may be several samples.
    """

    rows: DataFrame
    labelled: bool
    events: bool


def parse_log(spark: SparkSession, data: DataConfig) -> ParsedLog:
    """Reads the log that `data` names, chooses its rows and parses them.

    Raises:
        UserError: the log cannot be read, or a feature belongs to rows and the log has no labels.
    """
    raw, positive_at = read_log(spark, data)
    labelled, events = LABEL in raw.columns, "event" in raw.columns
    if not labelled:
        _refuse_features_of_rows(data)
    return ParsedLog(read_rows(choose_rows(raw, data, positive_at), data, positive_at), labelled, events)


def _refuse_features_of_rows(data: DataConfig) -> None:
    for name in owned_by(data.features, "row"):
        raise UserError(
            f'feature "{name}" belongs to rows of the log, but the log has no labels and negatives that are drawn '
            f"have no row: set data.features.{name}.of to user or item, or set data.columns.label"
        )
