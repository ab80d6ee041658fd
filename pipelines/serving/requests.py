"""What a model answers to requests: the best candidates of each user in a domain."""

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.samples.features import encoded_columns, owned_by
from pipelines.serving.promotions import Served
from pipelines.tasks.rank_requests import rank_requests
from pipelines.tasks.score_samples import domain_part
from training.config import Config
from training.serving.ranking import CANDIDATES, UNKNOWN


@dataclass(frozen=True)
class Answer:
    """The ranking of a model, and what it was asked.

    Attributes:
        ranked: a row a request and item: RANKED of pipelines/tasks/rank_requests.py.
        people: a row a request that could be answered, with domain_id and user_id.
        asked: the candidates that requests gave, with item_id; None: they gave none.
        specific: the rows of domain_parameters of the model.
    """

    ranked: DataFrame
    people: DataFrame
    asked: DataFrame | None
    specific: DataFrame

    def counts(self) -> dict[str, int]:
        """How many requests and domains there are, and how much of them the model does not know."""
        domains = self.people.select("domain_id").distinct()
        return {
            "requests": self.people.count(),
            "users_unknown": count_unknown(self.people, "user"),
            "items_unknown": count_unknown(self.asked, "item") if self.asked is not None else 0,
            "domains": domains.count(),
            "domains_shared": domains.join(self.specific.where("rounds > 0"), "domain_id", "left_anti").count(),
        }


def answer_requests(wanted: DataFrame, served: Served, top_k: int, persist: Callable[[DataFrame], DataFrame]) -> Answer:
    """Ranks what `wanted` asks for by the model and the tables of `served`.

    Args:
        wanted: domain, user: the best items of the domain are asked for; domain, user, item: the best of those. Keys;
            rows of a domain that the tables do not have, or without a user, are left out.
    """
    spark, config = wanted.sparkSession, served.key.config
    domains = served.read(spark, "domains")
    specific = served.specific(spark)
    users, items = (read_owner(spark, owner, served) for owner in ("user", "item"))
    keyed = domains.select("domain_id", F.col("domain_key").alias("domain"))
    answered = persist(wanted.where("user IS NOT NULL").join(F.broadcast(keyed), "domain"))
    people = persist(fill_unknown(answered.select("domain_id", "domain", "user").distinct(), users, "user", config))
    asking = place(people, domains)
    # by new columns: Spark would call those that both sides of the cogroup come from ambiguous
    of_domains = asking.select([F.col(name).alias(name) for name in ("bucket", "part", "domain_id")]).distinct()
    of_domains = of_domains.join(specific.select("domain_id", "rounds", "dense", "embeddings"), "domain_id", "left")
    asked = None
    if "item" in wanted.columns:
        asked = persist(fill_unknown(answered.where("item IS NOT NULL"), items, "item", config))
        asking = asking.join(gather(asked, "domain", "user"), ["domain", "user"])
    else:
        met = served.read(spark, "samples").select("domain_id", "item_id").distinct().join(items, "item_id")
        of_domains = of_domains.join(gather(met, "domain_id"), "domain_id")
    return Answer(rank_requests(asking, of_domains, served.key, top_k), people, asked, specific)


def count_unknown(frame: DataFrame, owner: str) -> int:
    """How many users or items of `frame` the model does not know."""
    return frame.where(F.col(f"{owner}_id") == UNKNOWN).select(owner).distinct().count()


def read_owner(spark: SparkSession, owner: str, served: Served) -> DataFrame:
    """The table of users or items as user (key), user_id and the features of users that the model has."""
    table = served.read(spark, f"{owner}s")
    further = encoded_columns(owned_by(served.key.config.data.features, owner))
    return table.select(F.col("key").alias(owner), F.col("id").alias(f"{owner}_id"), *further)


def fill_unknown(frame: DataFrame, known: DataFrame, owner: str, config: Config) -> DataFrame:
    """Adds the id and the features of each row's user or item; UNKNOWN and zeros where `known` has it not."""
    values = {f"{owner}_id": F.lit(UNKNOWN).cast("bigint")}
    for name, feature in owned_by(config.data.features, owner).items():
        for column, kind in encoded_columns({name: feature}).items():
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
