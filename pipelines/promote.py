"""Decides which model scoring reads: one that is no worse than what is served, or an earlier one.

    spark-submit pipelines/promote.py --config conf/ml_latest_small.yaml [key=value ...]
    spark-submit pipelines/promote.py --config ... promote.back_to=MODEL_VERSION
    spark-submit pipelines/promote.py --config ... promote.domain=KEY [promote.back_to=MODEL_VERSION]

Settings are those that training/train.py ran with: they name the model. It is compared with the one that is served:
both score the test rows of its own tables, by keys, in the domains that both know. If its mean-domain AUC is lower by
more than promote.margin it is not promoted. A model that goes back is not compared. The table promotions keeps all
decisions.
"""

import sys
import time
from collections.abc import Callable

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.engine.session import persisting, run_job
from pipelines.serving import promotions
from pipelines.serving.promotions import Served
from pipelines.serving.quality import SPLIT, auc_by, require_offsets
from pipelines.serving.requests import answer_requests
from training.column_names import KEY_ORDER, LABEL
from training.config import Config
from training.errors import UserError

ALL = 2**31 - 1  # candidates of a request
LOGIT = "ln(greatest(score, 1e-300)) - ln(greatest(1 - score, 1e-300))"


def promote(spark: SparkSession, config: Config) -> dict:
    """Runs the whole job and returns its summary. Raises UserError."""
    start = time.monotonic()
    domain, decisions = config.promote.domain, promotions.read(spark, config)
    before = promotions.of_domain(decisions, domain)
    if domain is not None and before is None:
        raise UserError("no model was promoted yet: promote one for all domains before promote.domain names one")
    auc = auc_served = None
    if config.promote.back_to is not None:
        decision = promotions.find_decision(decisions, config.promote.back_to)
        wanted = promotions.restore(spark, decision, domain, config)
    else:
        wanted = promotions.find_newest(spark, config, domain)
        _require_complete(spark, wanted)
    _require_domain(spark, wanted)
    if before is not None and config.promote.back_to is None:
        served = promotions.restore(spark, before, domain, config)
        with persisting() as persist:
            auc, auc_served = compare(spark, wanted, served, persist)
    promoted = auc is None or auc >= auc_served - config.promote.margin
    promotions.append(spark, wanted, promoted, auc, auc_served, config)
    if not promoted:
        print(
            f"not promoted: mean-domain AUC {auc:.4f} of {wanted.version} is more than {config.promote.margin} below "
            f"the {auc_served:.4f} of {before['model_version']}, which stays",
            file=sys.stderr,
        )
    return {
        "promoted": promoted,
        "domain": domain,
        "model_version": wanted.version,
        "model_version_before": before["model_version"] if before else None,
        "mean_domain_auc": auc,
        "mean_domain_auc_before": auc_served,
        "table_version": wanted.key.table_version,
        "seconds": round(time.monotonic() - start, 3),
    }


def compare(
    spark: SparkSession, new: Served, served: Served, persist: Callable[[DataFrame], DataFrame]
) -> tuple[float | None, float | None]:
    """The mean-domain AUC of two models on the same rows, None where no domain has both classes.

    The rows are the test rows of the tables of `new`, of its domain if it is for one, in domains that `served` knows.
    """
    users, items = (
        new.read(spark, f"{owner}s").select(F.col("id").alias(f"{owner}_id"), F.col("key").alias(owner))
        for owner in ("user", "item")
    )
    domains = new.read(spark, "domains").select("domain_id", F.col("domain_key").alias("domain"))
    rows = new.read(spark, "samples").where(F.col("split") == SPLIT).join(F.broadcast(domains), "domain_id")
    if new.domain is not None:
        rows = rows.where(F.col("domain") == new.domain)
    rows = persist(rows.join(users, "user_id").join(items, "item_id").select(*KEY_ORDER, LABEL))
    keys = rows.select(*KEY_ORDER).distinct()
    ranked = [answer_requests(keys, one, ALL, persist).ranked for one in (new, served)]
    scores = [
        one.select(
            F.lit(name).alias("model"),
            F.col("domain_key").alias("domain"),
            F.col("user_key").alias("user"),
            F.col("item_key").alias("item"),
            F.expr(LOGIT).alias("logit"),
        )
        for name, one in zip(("new", "served"), ranked, strict=True)
    ]
    both = rows.join(persist(scores[0].unionByName(scores[1])), list(KEY_ORDER))
    by_domain = auc_by(both, "domain").groupBy("domain_id").pivot("model", ["new", "served"]).agg(F.first("auc"))
    return tuple(by_domain.where("new IS NOT NULL AND served IS NOT NULL").agg(F.avg("new"), F.avg("served")).first())


def _require_complete(spark: SparkSession, wanted: Served) -> None:
    """Raises UserError if the model lacks theta^i of a domain that has rows to learn it from."""
    if wanted.key.config.framework.specific != "none":
        require_offsets(wanted.specific(spark), wanted.read(spark, "domains"), wanted.key)


def _require_domain(spark: SparkSession, wanted: Served) -> None:
    """Raises UserError if the tables of the model do not have the domain that it is for."""
    if wanted.domain is not None:
        domains = wanted.read(spark, "domains")
        if domains.where(F.col("domain_key") == wanted.domain).isEmpty():
            raise UserError(f'promote.domain "{wanted.domain}" is not in table {wanted.key.config.table("domains")}')


if __name__ == "__main__":
    run_job("promote", promote)
