"""Chooses the rows of the log that a build is about, if not all of them."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.samples.cleaning import deduplicate, parse, parsed_time, to_seconds
from training.config import DataConfig
from training.errors import UserError

DRAWS = 1_000_000  # a user's draw is a whole number below this
CHOICE_KEYS = ("domains", "largest_domains", "user_share", "since", "until")  # of DataConfig, that choose rows
TIME_KEYS = ("since", "until", "split_at")  # of DataConfig, that need times


def choose_rows(raw: DataFrame, data: DataConfig, positive_at: float | None) -> DataFrame:
    """Chooses the rows of a period, of `data.domains`, of a share of the users, and of the `data.largest_domains`.

    The largest domains are those with most rows after cleaning, among the rows that the other settings choose. Rows
    without a domain, user or time stay, to be rejected later.

    Raises:
        UserError: the config needs times, and the log has none.
    """
    for key in TIME_KEYS:
        if getattr(data, key) is not None and "time" not in raw.columns:
            raise UserError(f"data.{key} needs the times of the rows: set data.columns.time")
    if data.since is not None:
        raw = raw.where(parsed_time().isNull() | (parsed_time() >= to_seconds(data.since)))
    if data.until is not None:
        raw = raw.where(parsed_time().isNull() | (parsed_time() < to_seconds(data.until)))
    if data.domains is not None:
        raw = _of_domains(raw, data.domains)
    if data.user_share is not None:
        draw = F.pmod(F.xxhash64(F.lit("user_share"), "user"), F.lit(DRAWS))
        raw = raw.where(F.col("user").isNull() | (draw < data.user_share * DRAWS))
    if data.largest_domains is not None:
        sizes = deduplicate(parse(raw, positive_at, data.features)).groupBy("domain").count()
        largest = sizes.orderBy(F.desc("count"), "domain").limit(data.largest_domains)
        raw = _of_domains(raw, [row["domain"] for row in largest.collect()])
    return raw


def _of_domains(raw: DataFrame, domains: list[str]) -> DataFrame:
    return raw.where(F.col("domain").isNull() | F.col("domain").isin(domains))
