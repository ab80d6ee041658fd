"""Which rows of the log a build is about, where that is not all of them."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.samples.cleaning import deduplicate, parse, parsed_time
from training.config import DataConfig, seconds_of
from training.errors import UserError

PARTS = 1_000_000
KEYS = ("domains", "largest_domains", "user_share", "since", "until")  # of DataConfig, that choose
TIMED = ("since", "until", "split_at")  # of DataConfig, that need times


def choose_rows(raw: DataFrame, data: DataConfig, positive_at: float | None) -> DataFrame:
    """The rows of a period, of `data.domains`, of a share of the users, and then of the `data.largest_domains`.

    The largest are those with most rows that would be kept. Rows without a domain or user stay, to be rejected; so do
    those without a time.

    Raises:
        UserError: the log has no times, and the config names one.
    """
    for key in TIMED:
        if getattr(data, key) is not None and "time" not in raw.columns:
            raise UserError(f"data.{key} needs the times of the rows: set data.columns.time")
    if data.since is not None:
        raw = raw.where(parsed_time().isNull() | (parsed_time() >= seconds_of(data.since)))
    if data.until is not None:
        raw = raw.where(parsed_time().isNull() | (parsed_time() < seconds_of(data.until)))
    if data.domains is not None:
        raw = _of_domains(raw, data.domains)
    if data.user_share is not None:
        draw = F.pmod(F.xxhash64(F.lit("user_share"), "user"), F.lit(PARTS))
        raw = raw.where(F.col("user").isNull() | (draw < data.user_share * PARTS))
    if data.largest_domains is not None:
        sizes = deduplicate(parse(raw, positive_at, data.features)).groupBy("domain").count()
        largest = sizes.orderBy(F.desc("count"), "domain").limit(data.largest_domains)
        raw = _of_domains(raw, [row["domain"] for row in largest.collect()])
    return raw


def _of_domains(raw: DataFrame, domains: list[str]) -> DataFrame:
    return raw.where(F.col("domain").isNull() | F.col("domain").isin(domains))
