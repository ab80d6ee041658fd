"""The quality of served models, and whether one is complete."""

from pyspark.sql import DataFrame

from pipelines.engine import tables
from pipelines.tasks.model_key import ModelKey
from training.errors import UserError

SPLIT = "test"


def auc_by(scores: DataFrame, group: str) -> DataFrame:
    """(model, domain_id, rows, positives, auc, logloss) for each value of the expression `group`."""
    query = tables.statement("queries/auc", scores="{scores}", group=group)
    return scores.sparkSession.sql(query, scores=scores)


def require_offsets(specific: DataFrame, domains: DataFrame, key: ModelKey) -> None:
    """Raises UserError if a domain with training rows is not in `specific`."""
    missing = domains.where("rows_train > 0").join(specific, "domain_id", "left_anti").groupBy("head").count()
    for row in missing.collect():
        job = "training/train.py" if row["head"] else "pipelines/dr_longtail.py"
        raise UserError(
            f"model {key.model_version} lacks theta^i of {row['count']} {'head' if row['head'] else 'tail'} domains: "
            f"run {job} with the same config and settings"
        )
