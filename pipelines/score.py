"""Ranks items for users in domains, and writes the best ones of each request to the table scores.

    spark-submit pipelines/score.py --config conf/ml_latest_small.yaml [score.requests=PATH] [key=value ...]

The model is the promoted one, or several if some domains have their own (pipelines/promote.py), each with the versions
of the tables that it belongs to. If none is promoted, or with score.promoted=false, it is the model that the settings
name: use those that training/train.py ran with.

score.requests is a Delta table of keys as the log has them. The columns domain and user ask for the best items of the
domain; domain, user and item ask for the best of the listed items. Without score.requests, every user is ranked in each
domain where they have samples. The items of a domain are those of its samples.

A domain without offsets is served by theta^S alone. A user or item that the model does not know gets zeros in place of
a vector. A request without a key, or of a domain that was not built, is rejected. The summary counts all three.
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
        models = find_served(spark, config)
        requested = persist(read_requests(spark, models[0], config))
        answers = [
            answer_requests(requests, served, config.score.top_k, persist)
            for served, requests in split_by_model(requested, models)
        ]
        ranked = [
            answer.ranked.withColumns(model_columns(served)) for answer, served in zip(answers, models, strict=True)
        ]
        path = config.table("scores")
        tables.overwrite(reduce(DataFrame.unionByName, ranked), "scores", path)
        counts = [answer.counts() for answer in answers]
        totals = {name: sum(count[name] for count in counts) for name in counts[0]}
        return {
            **totals,
            "requests_rejected": requested.select("domain", "user").distinct().count() - totals["requests"],
            "rows": tables.read(spark, path).count(),
            "model_version": models[0].version,
            "models": len(models),
            "table_version": tables.version(path),
            "seconds": round(time.monotonic() - start, 3),
        }


def read_requests(spark: SparkSession, served: Served, config: Config) -> DataFrame:
    """Reads the distinct requests: the keys domain and user, and item if the table lists candidates.

    Raises:
        UserError: the table does not exist, lacks a column, or has no rows.
    """
    path = config.score.requests
    if path is None:
        pairs = served.read(spark, "samples").select("domain_id", "user_id").distinct()
        users, domains = served.read(spark, "users"), served.read(spark, "domains")
        pairs = pairs.join(users.select(F.col("id").alias("user_id"), F.col("key").alias("user")), "user_id")
        pairs = pairs.join(domains.select("domain_id", F.col("domain_key").alias("domain")), "domain_id")
        return pairs.select("domain", "user")
    table = load(spark, path, "delta", "score.requests")
    require_columns(table, ["domain", "user"], path)
    names = [name for name in KEY_ORDER if name in table.columns]
    requests = table.select(*[F.col(name).cast("string") for name in names]).distinct()
    if requests.isEmpty():
        raise UserError(f"table {path} has no rows: give score.requests at least one")
    return requests


def split_by_model(requested: DataFrame, models: list[Served]) -> Iterator[tuple[Served, DataFrame]]:
    """Yields each model with its requests: those of its domain, or those of all domains without their own model."""
    separate = [served.domain for served in models if served.domain is not None]
    for served in models:
        if served.domain is None:
            yield served, requested.where(~F.col("domain").isin(separate))
        else:
            yield served, requested.where(F.col("domain") == served.domain)


def model_columns(served: Served) -> dict:
    """Returns the columns of the table scores that name the time and the model."""
    return {
        "scored_at": F.current_timestamp(),
        "model": F.lit(served.key.config.framework.name),
        "model_version": F.lit(served.version),
        "table_version": F.lit(served.key.table_version).cast("bigint"),
    }


if __name__ == "__main__":
    run_job("score", score)
