"""Ranks candidate items for users in domains, and leaves the best of each request in the table scores.

    spark-submit pipelines/score.py --config conf/ml_latest_small.yaml [score.requests=PATH] [key=value ...]

Settings are those that training/train.py ran with: they name the model. score.requests is a Delta table of keys as the
log has them: (domain, user) asks for the best items of the domain, (domain, user, item) for the best of those. Without
it every user is asked for in every domain where the samples have them. The items of a domain are those of its samples.

A domain that has no theta^i, or whose theta^i the stop put aside, is served by theta^S. A user or item that the model
does not know is looked up as zeros. A request of a domain that was not built, or without a key, is left out. The
summary counts all three.
"""

import time

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines import tables
from pipelines.adaptation import ModelKey
from pipelines.features import columns, of
from pipelines.ranking import CANDIDATES, rank
from pipelines.scoring import domain_part
from pipelines.session import persisting, run_job
from pipelines.sources.files import require_columns
from pipelines.sources.table import load
from training.config import Config
from training.errors import UserError
from training.snapshot import take_snapshot

UNKNOWN = -1  # the id of what the model does not know


def score(spark: SparkSession, config: Config) -> dict:
    """Runs the whole job and returns its summary. Raises UserError."""
    start = time.monotonic()
    for name in of(config.data.features, "row"):
        raise UserError(f'feature "{name}" is the value of a row of the log, and a request has none: leave it out')
    snapshot = take_snapshot(config)
    key = ModelKey.find(config, snapshot.version)
    version = key.shared if config.framework.specific == "none" else key.specific
    samples = tables.read(spark, config.table("samples"), snapshot.version)
    domains = tables.read(spark, config.table("domains"))
    specific = tables.read(spark, config.table("domain_parameters")).where(F.col("model_version") == version)
    users, items = (read_owner(spark, owner, config) for owner in ("user", "item"))
    with persisting() as persist:
        wanted = persist(read_requests(spark, samples, domains, users, config))
        answered = wanted.where("domain_id IS NOT NULL AND user IS NOT NULL")
        people = persist(fill_unknown(answered.select("domain_id", "domain", "user").distinct(), users, "user", config))
        asking = place(people, domains)
        # by new columns: Spark would call those that both sides of the cogroup come from ambiguous
        of_domains = asking.select([F.col(name).alias(name) for name in ("bucket", "part", "domain_id")]).distinct()
        of_domains = of_domains.join(specific.select("domain_id", "rounds", "dense", "embeddings"), "domain_id", "left")
        if "item" in wanted.columns:
            asked = persist(fill_unknown(answered.where("item IS NOT NULL"), items, "item", config))
            asking = asking.join(gather(asked, "domain", "user"), ["domain", "user"])
            items_unknown = count_unknown(asked, "item")
        else:
            met = samples.select("domain_id", "item_id").distinct().join(items, "item_id")
            of_domains = of_domains.join(gather(met, "domain_id"), "domain_id")
            items_unknown = 0
        stamp = {
            "scored_at": F.current_timestamp(),
            "model": F.lit(config.framework.name),
            "model_version": F.lit(version),
            "table_version": F.lit(snapshot.version).cast("bigint"),
        }
        ranked = rank(asking, of_domains, key, config.score.top_k)
        path = config.table("scores")
        tables.overwrite(ranked.withColumns(stamp), "scores", path)
        requests, served = people.count(), people.select("domain_id").distinct()
        return {
            "requests": requests,
            "requests_rejected": wanted.select("domain", "user").distinct().count() - requests,
            "users_unknown": count_unknown(people, "user"),
            "items_unknown": items_unknown,
            "domains": served.count(),
            "domains_shared": served.join(specific.where("rounds > 0"), "domain_id", "left_anti").count(),
            "rows": tables.read(spark, path).count(),
            "model_version": version,
            "table_version": tables.version(spark, path),
            "seconds": round(time.monotonic() - start, 3),
        }


def count_unknown(frame: DataFrame, owner: str) -> int:
    """How many users or items of `frame` the model does not know."""
    return frame.where(F.col(f"{owner}_id") == UNKNOWN).select(owner).distinct().count()


def read_owner(spark: SparkSession, owner: str, config: Config) -> DataFrame:
    """The table of users or items as user (key), user_id and the features of users that the model has."""
    table = tables.read(spark, config.table(f"{owner}s"))
    further = columns(of(config.data.features, owner))
    return table.select(F.col("key").alias(owner), F.col("id").alias(f"{owner}_id"), *further)


def read_requests(
    spark: SparkSession, samples: DataFrame, domains: DataFrame, users: DataFrame, config: Config
) -> DataFrame:
    """(domain_id, domain, user) or (domain_id, domain, user, item), distinct; domain_id is null where it is unknown.

    Raises:
        UserError: there is no such table, it has other columns, or no rows.
    """
    keyed = domains.select("domain_id", F.col("domain_key").alias("domain"))
    path = config.score.requests
    if path is None:
        met = samples.select("domain_id", "user_id").distinct()
        return met.join(keyed, "domain_id").join(users.select("user", "user_id"), "user_id").drop("user_id")
    given = load(spark, path, "delta", "score.requests")
    require_columns(given, ["domain", "user"], path)
    names = [name for name in ("domain", "user", "item") if name in given.columns]
    given = given.select(*[F.col(name).cast("string") for name in names]).distinct()
    if given.isEmpty():
        raise UserError(f"table {path} has no rows: give score.requests at least one")
    return given.join(F.broadcast(keyed), "domain", "left")


def fill_unknown(frame: DataFrame, known: DataFrame, owner: str, config: Config) -> DataFrame:
    """Adds the id and the features of each row's user or item; UNKNOWN and zeros where `known` has it not."""
    values = {f"{owner}_id": F.lit(UNKNOWN).cast("bigint")}
    for name, feature in of(config.data.features, owner).items():
        for column, kind in columns({name: feature}).items():
            zero = F.lit(0).cast(kind.removeprefix("ARRAY<").removesuffix(">"))
            values[column] = F.array_repeat(zero, feature.length) if kind.startswith("ARRAY") else zero
    joined = frame.join(known, owner, "left")
    return joined.withColumns({name: F.coalesce(name, value) for name, value in values.items()})


def place(asking: DataFrame, domains: DataFrame) -> DataFrame:
    """Adds bucket and part: the requests of a domain go to as many buckets as its samples, a user's to one."""
    places = domains.select("domain_id", "first_bucket", "buckets")
    spread = F.pmod(F.xxhash64("user"), F.col("buckets"))
    placed = asking.join(F.broadcast(places), "domain_id")
    bucket = (F.col("first_bucket") + spread).cast("int")
    return placed.withColumns({"bucket": bucket, "part": domain_part(domains)}).drop("first_bucket", "buckets")


def gather(items: DataFrame, *by: str) -> DataFrame:
    """One row a group, with its items, their ids and features as an array by key."""
    further = [name for name in items.columns if name not in ("domain_id", "domain", "user", "item", "item_id")]
    each = F.struct("item", "item_id", *further)
    return items.groupBy(*by).agg(F.array_sort(F.collect_list(each)).alias(CANDIDATES))


if __name__ == "__main__":
    run_job("score", score)
