"""Which rows of the log a build is about, where that is not all of them."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.cleaning import deduplicate, parse
from training.config import DataConfig

PARTS = 1_000_000
KEYS = ("domains", "largest_domains", "user_share")  # of DataConfig, that choose


def choose_rows(raw: DataFrame, data: DataConfig, positive_at: float | None) -> DataFrame:
    """The rows of `data.domains`, of `data.user_share` of the users, and then of the `data.largest_domains`.

    The largest are those with most rows that would be kept. Rows without a domain or user stay, to be rejected.
    """
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
