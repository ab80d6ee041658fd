"""Promotes a model, so that scoring uses it: one that is no worse than the served model, or an earlier one.

    spark-submit pipelines/promote.py --config conf/ml_latest_small.yaml [key=value ...]
    spark-submit pipelines/promote.py --config ... promote.back_to=MODEL_VERSION
    spark-submit pipelines/promote.py --config ... promote.domain=KEY [promote.back_to=MODEL_VERSION]

Use the settings that training/train.py ran with: they name the model. The job compares it with the served model: both
score the test rows of the new model's tables, matched by keys, in the domains that both know. The new model is not
promoted if its mean-domain AUC is lower by more than promote.margin. promote.back_to promotes an earlier model again,
without a comparison. The table promotions keeps all decisions.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.engine.rows import aggregate
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


@dataclass(frozen=True)
class Comparison:
    """Holds the mean-domain AUC of two models on the same rows. None: not compared, or no domain has both classes."""

    new: float | None = None
    served: float | None = None

    def is_worse(self, margin: float) -> bool:
        """Returns whether the new model's AUC is lower by more than `margin`."""
        return self.new is not None and self.served is not None and self.new < self.served - margin


def promote(spark: SparkSession, config: Config) -> dict:
    """Runs the whole job and returns its summary. Raises UserError."""
    start = time.monotonic()
    domain, back_to = config.promote.domain, config.promote.back_to
    decisions = promotions.read(spark, config)
    before = promotions.of_domain(decisions, domain)
    if domain is not None and before is None:
        raise UserError("no model was promoted yet: promote one for all domains before promote.domain names one")
    if back_to is not None:
        new = promotions.restore(spark, promotions.find_decision(decisions, back_to), domain, config)
    else:
        new = promotions.find_newest(spark, config, domain)
        _require_complete(spark, new)
    _require_domain(spark, new)
    comparison = Comparison()
    if before is not None and back_to is None:
        served = promotions.restore(spark, before, domain, config)
        with persisting() as persist:
            comparison = compare(spark, new, served, persist)
    promoted = not comparison.is_worse(config.promote.margin)
    promotions.append(spark, new, promoted, comparison.new, comparison.served, config)
    version_before = None if before is None else before["model_version"]
    if not promoted:
        print(
            f"not promoted: mean-domain AUC {comparison.new:.4f} of {new.version} is more than "
            f"{config.promote.margin} below {comparison.served:.4f} of {version_before}, which is still served",
            file=sys.stderr,
        )
    return {
        "promoted": promoted,
        "domain": domain,
        "model_version": new.version,
        "model_version_before": version_before,
        "mean_domain_auc": comparison.new,
        "mean_domain_auc_before": comparison.served,
        "table_version": new.key.table_version,
        "seconds": round(time.monotonic() - start, 3),
    }


def compare(spark: SparkSession, new: Served, served: Served, persist: Callable[[DataFrame], DataFrame]) -> Comparison:
    """Compares two models on the test rows of the tables of `new`.

    Only domains that `served` knows are compared, and only the domain of `new` if it is for a single one.
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
    scores = [
        answer_requests(keys, model, ALL, persist).ranked.select(
            F.lit(name).alias("model"),
            F.col("domain_key").alias("domain"),
            F.col("user_key").alias("user"),
            F.col("item_key").alias("item"),
            F.expr(LOGIT).alias("logit"),
        )
        for name, model in (("new", new), ("served", served))
    ]
    scored = rows.join(persist(scores[0].unionByName(scores[1])), list(KEY_ORDER))
    by_domain = auc_by(scored, "domain").groupBy("domain_id").pivot("model", ["new", "served"]).agg(F.first("auc"))
    in_both = by_domain.where("new IS NOT NULL AND served IS NOT NULL")
    return Comparison(*aggregate(in_both, F.avg("new"), F.avg("served")))


def _require_complete(spark: SparkSession, model: Served) -> None:
    """Raises UserError if the model lacks the offsets of a domain that has training rows."""
    if model.key.config.framework.specific != "none":
        require_offsets(model.parameters(spark), model.read(spark, "domains"), model.key)


def _require_domain(spark: SparkSession, model: Served) -> None:
    """Raises UserError if the tables of the model lack the domain that it is for."""
    if model.domain is not None:
        domains = model.read(spark, "domains")
        if domains.where(F.col("domain_key") == model.domain).isEmpty():
            raise UserError(f'promote.domain "{model.domain}" is not in table {model.key.config.table("domains")}')


if __name__ == "__main__":
    run_job("promote", promote)
