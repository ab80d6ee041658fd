"""Counts the rows of a build, so that each row of the log is accounted for: in = kept + rejected + duplicate."""

import time
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.engine.rows import aggregate
from pipelines.samples.cleaning import check_labels
from pipelines.samples.row_choice import CHOICE_KEYS
from training.config import Config
from training.errors import UserError


@dataclass(frozen=True)
class RowCounts:
    """Holds how many rows of the log a build read, kept and rejected."""

    rows_in: int
    rows_kept: int
    rows_rejected: int

    @property
    def rows_duplicate(self) -> int:
        """Counts the rows that were dropped because an equal row was kept."""
        return self.rows_in - self.rows_kept - self.rows_rejected


def count_parsed_rows(parsed: DataFrame, config: Config) -> int:
    """Counts the rows of the log. Raises UserError if it has none, or if a label is neither 0 nor 1."""
    rows_in, other_labels = aggregate(parsed, F.count("*"), F.expr("count_if(label NOT IN (0, 1))"))
    if rows_in == 0:
        chosen = " and ".join(f"data.{key}" for key in CHOICE_KEYS if getattr(config.data, key) is not None)
        after = f" after {chosen} chose" if chosen else ""
        raise UserError(f"input {config.data.path} has no rows{after}: give a log with at least one row")
    if other_labels:
        check_labels(parsed)
    return rows_in


def count_clean_rows(
    rows_in: int, clean: DataFrame, rejected: DataFrame, config: Config
) -> tuple[RowCounts, float | None]:
    """Counts kept and rejected rows, and finds the largest time of a clean row.

    Args:
        rows_in: the number of rows of the log; kept, rejected and duplicate rows must add up to it.
        clean: see `cleaning.deduplicate`.
        rejected: the table rejects.

    Raises:
        UserError: all rows were rejected.
    """
    columns = (F.count("*").alias("kept"), F.sum("copies").alias("copies"), F.max("time").alias("latest"))
    totals = aggregate(clean, *columns)
    counts = RowCounts(rows_in, totals["kept"], rejected.count())
    if counts.rows_kept == 0:
        reason = rejected.groupBy("column", "reason").count().orderBy(F.desc("count")).head(1)[0]
        raise UserError(
            f"input {config.data.path}: all {rows_in} rows were rejected, "
            f'most ({reason["count"]}) because "{reason["column"]}" is {reason["reason"]}: check data.columns'
        )
    counted = totals["copies"] + counts.rows_rejected
    if counted != rows_in:
        raise RuntimeError(
            f"input {config.data.path}: {rows_in} rows were read, but {counted} were kept, rejected or duplicate: "
            "the log changed during the build, run it again"
        )
    return counts, totals["latest"]


def summarise_build(
    spark: SparkSession, config: Config, counts: RowCounts, samples: int, rows_made: int, start: float
) -> dict:
    """Returns the summary of a build.

    Args:
        samples: the number of rows in the table samples.
        rows_made: how many rows this build made, for samples_per_second.
        start: `time.monotonic()` when the build began.
    """
    seconds = time.monotonic() - start
    return {
        "rows_in": counts.rows_in,
        "rows_kept": counts.rows_kept,
        "rows_rejected": counts.rows_rejected,
        "rows_duplicate": counts.rows_duplicate,
        "samples": samples,
        **{name: tables.read(spark, config.table(name)).count() for name in ("domains", "users", "items")},
        "table_version": tables.version(config.table("samples")),
        "seconds": round(seconds, 3),
        "samples_per_second": round(rows_made / seconds, 1),
    }
