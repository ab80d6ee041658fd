"""Measures the quality of models by domain, and checks that a model is complete."""

from pyspark.sql import DataFrame

from pipelines.engine import tables
from pipelines.tasks.model_key import ModelKey
from training.errors import UserError

SPLIT = "test"  # the split that models are compared on


def auc_by(scores: DataFrame, group: str) -> DataFrame:
    """Computes AUC and log loss for each model and each value of the SQL expression `group`.

    Returns:
        model, domain_id (the value of `group`), rows, positives, auc (null with a single class), logloss.
    """
    query = tables.statement("queries/auc", scores="{scores}", group=group)
    return scores.sparkSession.sql(query, scores=scores)


def require_offsets(parameters: DataFrame, domains: DataFrame, key: ModelKey) -> None:
    """Raises UserError if a domain with training rows has no row in `parameters`."""
    missing = domains.where("rows_train > 0").join(parameters, "domain_id", "left_anti").groupBy("head").count()
    for row in missing.collect():
        kind, job = ("head", "training/train.py") if row["head"] else ("tail", "pipelines/dr_longtail.py")
        raise UserError(
            f"model {key.model_version} lacks the offsets of {row['count']} {kind} domains: "
            f"run {job} with the same config and settings"
        )
