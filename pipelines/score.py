"""Ranks candidate items for users in domains, and leaves the best of each request in the table scores.

    spark-submit pipelines/score.py --config conf/ml_latest_small.yaml [score.requests=PATH] [key=value ...]

The model is the one that was promoted, or several where domains have one of their own (pipelines/promote.py), each with
the versions of the tables that it belongs to. Where none was, or with score.promoted=false, settings are those that
training/train.py ran with: they name the model.

score.requests is a Delta table of keys as the log has them: (domain, user) asks for the best items of the domain,
(domain, user, item) for the best of those. Without it every user is asked for in every domain where the samples have
them. The items of a domain are those of its samples.

A domain that has no theta^i, or whose theta^i the stop put aside, is served by theta^S. A user or item that the model
does not know is looked up as zeros. A request of a domain that was not built, or without a key, is left out. The
summary counts all three.
"""

import time
from collections.abc import Iterator
from functools import reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.engine.session import persisting, run_job
from pipelines.serving.promotions import Served, find_served
from pipelines.serving.requests import answer_requests
from pipelines.sources.files import require_columns
from pipelines.sources.table import load
from training.column_names import KEY_ORDER
from training.config import Config
from training.errors import UserError


def score(spark: SparkSession, config: Config) -> dict:
    """Runs the whole job and returns its summary. Raises UserError."""
    start = time.monotonic()
    with persisting() as persist:
        served = find_served(spark, config)
        wanted = persist(read_requests(spark, served[0], config))
        answers = [answer_requests(own, one, config.score.top_k, persist) for one, own in deal(wanted, served)]
        ranked = [one.ranked.withColumns(stamp(model)) for one, model in zip(answers, served, strict=True)]
        path = config.table("scores")
        tables.overwrite(reduce(DataFrame.unionByName, ranked), "scores", path)
        counts = [one.counts() for one in answers]
        total = {name: sum(count[name] for count in counts) for name in counts[0]}
        return {
            **total,
            "requests_rejected": wanted.select("domain", "user").distinct().count() - total["requests"],
            "rows": tables.read(spark, path).count(),
            "model_version": served[0].version,
            "models": len(served),
            "table_version": tables.version(path),
            "seconds": round(time.monotonic() - start, 3),
        }


def read_requests(spark: SparkSession, served: Served, config: Config) -> DataFrame:
    """(domain, user) or (domain, user, item), keys, distinct.

    Raises:
        UserError: there is no such table, it has other columns, or no rows.
    """
    path = config.score.requests
    if path is None:
        met = served.read(spark, "samples").select("domain_id", "user_id").distinct()
        users, domains = served.read(spark, "users"), served.read(spark, "domains")
        met = met.join(users.select(F.col("id").alias("user_id"), F.col("key").alias("user")), "user_id")
        met = met.join(domains.select("domain_id", F.col("domain_key").alias("domain")), "domain_id")
        return met.select("domain", "user")
    given = load(spark, path, "delta", "score.requests")
    require_columns(given, ["domain", "user"], path)
    names = [name for name in KEY_ORDER if name in given.columns]
    given = given.select(*[F.col(name).cast("string") for name in names]).distinct()
    if given.isEmpty():
        raise UserError(f"table {path} has no rows: give score.requests at least one")
    return given


def deal(wanted: DataFrame, served: list[Served]) -> Iterator[tuple[Served, DataFrame]]:
    """Each model, and the requests of its domain, or those of all that no other model has."""
    taken = [one.domain for one in served if one.domain is not None]
    for one in served:
        yield one, wanted.where(~F.col("domain").isin(taken) if one.domain is None else F.col("domain") == one.domain)


def stamp(served: Served) -> dict:
    """What the table scores has beside the ranking."""
    return {
        "scored_at": F.current_timestamp(),
        "model": F.lit(served.key.config.framework.name),
        "model_version": F.lit(served.version),
        "table_version": F.lit(served.key.table_version).cast("bigint"),
    }


if __name__ == "__main__":
    run_job("score", score)
