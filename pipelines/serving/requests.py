"""Answers requests by a model: ranks the candidates of each user in a domain."""

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
    """Holds the rankings of a model, and the requests that they answer.

    Attributes:
        ranked: one row per request and item: RANKED of pipelines/tasks/rank_requests.py.
        requests: one row per request that could be answered, with domain_id and user_id.
        candidates: the items that requests listed, with item_id. None: requests listed none.
        parameters: the rows of domain_parameters of the model.
    """

    ranked: DataFrame
    requests: DataFrame
    candidates: DataFrame | None
    parameters: DataFrame

    def counts(self) -> dict[str, int]:
        """Counts requests and domains, users and items that the model does not know, and domains without offsets."""
        domains = self.requests.select("domain_id").distinct()
        return {
            "requests": self.requests.count(),
            "users_unknown": count_unknown(self.requests, "user"),
            "items_unknown": count_unknown(self.candidates, "item") if self.candidates is not None else 0,
            "domains": domains.count(),
            "domains_shared": domains.join(self.parameters.where("rounds > 0"), "domain_id", "left_anti").count(),
        }


def answer_requests(
    requested: DataFrame, served: Served, top_k: int, persist: Callable[[DataFrame], DataFrame]
) -> Answer:
    """Ranks the candidates of each request by the model and the tables of `served`.

    Args:
        requested: the keys domain and user, which ask for the best items of the domain; or domain, user and item, which
            ask for the best of the listed items. Rows without a user, or of a domain that the tables lack, are ignored.
    """
    spark, config = requested.sparkSession, served.key.config
    domains = served.read(spark, "domains")
    parameters = served.parameters(spark)
    users, items = (read_owner(spark, owner, served) for owner in ("user", "item"))
    domain_ids = domains.select("domain_id", F.col("domain_key").alias("domain"))
    answerable = persist(requested.where("user IS NOT NULL").join(F.broadcast(domain_ids), "domain"))
    people = answerable.select("domain_id", "domain", "user").distinct()
    requests = persist(fill_unknown(people, users, "user", config))
    assigned = assign_tasks(requests, domains)
    # as new columns: Spark would call columns ambiguous that come from both sides of the cogroup
    of_domains = assigned.select([F.col(name).alias(name) for name in ("bucket", "part", "domain_id")]).distinct()
    of_domains = of_domains.join(parameters.select("domain_id", "rounds", "dense", "embeddings"), "domain_id", "left")
    candidates = None
    if "item" in requested.columns:
        candidates = persist(fill_unknown(answerable.where("item IS NOT NULL"), items, "item", config))
        assigned = assigned.join(gather_candidates(candidates, "domain", "user"), ["domain", "user"])
    else:
        of_samples = served.read(spark, "samples").select("domain_id", "item_id").distinct().join(items, "item_id")
        of_domains = of_domains.join(gather_candidates(of_samples, "domain_id"), "domain_id")
    return Answer(rank_requests(assigned, of_domains, served.key, top_k), requests, candidates, parameters)


def count_unknown(frame: DataFrame, owner: str) -> int:
    """Counts the distinct users or items of `frame` that the model does not know."""
    return frame.where(F.col(f"{owner}_id") == UNKNOWN).select(owner).distinct().count()


def read_owner(spark: SparkSession, owner: str, served: Served) -> DataFrame:
    """Reads the table of users or items, as its key ("user"), id ("user_id") and the features that the model reads."""
    table = served.read(spark, f"{owner}s")
    features = encoded_columns(owned_by(served.key.config.data.features, owner))
    return table.select(F.col("key").alias(owner), F.col("id").alias(f"{owner}_id"), *features)


def fill_unknown(frame: DataFrame, owners: DataFrame, owner: str, config: Config) -> DataFrame:
    """Adds the id and the features of each row's user or item: UNKNOWN and zeros for those that `owners` lacks."""
    values = {f"{owner}_id": F.lit(UNKNOWN).cast("bigint")}
    for name, feature in owned_by(config.data.features, owner).items():
        for column, kind in encoded_columns({name: feature}).items():
            zero = F.lit(0).cast(kind.removeprefix("ARRAY<").removesuffix(">"))
            values[column] = F.array_repeat(zero, feature.length) if kind.startswith("ARRAY") else zero
    joined = frame.join(owners, owner, "left")
    return joined.withColumns({name: F.coalesce(name, value) for name, value in values.items()})


def assign_tasks(requests: DataFrame, domains: DataFrame) -> DataFrame:
    """Adds bucket and part, which name the task of a request.

    The requests of a domain go to the buckets of its samples, all requests of a user to the same one.
    """
    buckets = domains.select("domain_id", "first_bucket", "buckets")
    joined = requests.join(F.broadcast(buckets), "domain_id")
    bucket = (F.col("first_bucket") + F.pmod(F.xxhash64("user"), F.col("buckets"))).cast("int")
    return joined.withColumns({"bucket": bucket, "part": domain_part(domains)}).drop("first_bucket", "buckets")


def gather_candidates(items: DataFrame, *by: str) -> DataFrame:
    """Returns one row per group, with its items as an array sorted by key: key, id and features of each item."""
    features = [name for name in items.columns if name not in ("domain_id", "domain", "user", "item", "item_id")]
    candidate = F.struct("item", "item_id", *features)
    return items.groupBy(*by).agg(F.array_sort(F.collect_list(candidate)).alias(CANDIDATES))
