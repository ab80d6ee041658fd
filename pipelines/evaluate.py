"""Tests a model on the test rows: AUC by domain, for theta^S alone and for theta^S + theta^i.

    spark-submit pipelines/evaluate.py --config conf/ml_latest_small.yaml [key=value ...]

Settings are those that training/train.py ran with: they name the model.
"""

import sys

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.engine.session import persisting, run_job
from pipelines.serving.quality import SPLIT, auc_by, require_offsets
from pipelines.tasks.model_key import ModelKey
from pipelines.tasks.score_samples import score_samples
from training.config import Config
from training.config.frameworks import framework_name
from training.data.snapshot import take_snapshot
from training.errors import UserError
from training.tracking import open_tracker

LARGEST = 10  # domains in the printed table


def evaluate(spark: SparkSession, config: Config) -> dict:
    """Runs the whole job and returns its summary. Raises UserError."""
    snapshot = take_snapshot(config)
    key = ModelKey.find(config, snapshot.version)
    names = model_names(config)
    samples = tables.read(spark, config.table("samples"), snapshot.version)
    test = samples.where(F.col("split") == SPLIT)
    if test.isEmpty():
        raise UserError(f"table {config.table('samples')} has no {SPLIT} rows: build it with such a data.split")
    domains = tables.read(spark, config.table("domains"), snapshot.versions["domains"])
    specific = tables.read(spark, config.table("domain_parameters")).where(F.col("model_version") == key.model_version)
    if any(names.values()):
        require_offsets(specific, domains, key)
    stamp = {
        "evaluated_at": F.current_timestamp(),
        "model_version": _version_of(names, key),
        "table_version": F.lit(snapshot.version).cast("bigint"),
        "split": F.lit(SPLIT),
    }
    with persisting() as persist:
        scores = persist(score_samples(test, specific, domains, names, key))
        keys = domains.select("domain_id", "domain_key")
        by_domain = persist(auc_by(scores, "domain_id").join(keys, "domain_id"))
        overall = persist(summarise(by_domain, auc_by(scores, "-1")))
        for frame, name in ((by_domain, "metrics_by_domain"), (overall, "metrics")):
            tables.append(frame.withColumns(stamp), name, config.table(name))
        print_tables(overall, by_domain, list(names))
        found = {row["model"]: _metrics(row.asDict()) for row in overall.collect()}
        _track(found, by_domain, key)
        return {"models": found}


def model_names(config: Config) -> dict[str, bool]:
    """The models to test, and whether theta^i is added: the shared one, and the whole if it is another."""
    return {framework_name(config.framework.shared, "none"): False} | {
        config.framework.name: config.framework.specific != "none"
    }


def summarise(by_domain: DataFrame, overall: DataFrame) -> DataFrame:
    """One row a model: means over domains of `by_domain`, joined with AUC and log loss over all rows.

    | model | rows | auc  |      | model | rows | domains_scored | domains_undefined | mean_domain_auc | weighted_auc |
    | dn    | 10   | 0.5  |  ->  | dn    | 50   | 2              | 1                 | 0.75            | 0.875        |
    | dn    | 30   | 1.0  |
    | dn    | 10   | null |
    """
    defined = F.col("auc").isNotNull()
    means = by_domain.groupBy("model").agg(
        F.count_if(defined).cast("int").alias("domains_scored"),
        F.count_if(~defined).cast("int").alias("domains_undefined"),
        F.avg("auc").alias("mean_domain_auc"),
        (F.sum(F.col("auc") * F.col("rows")) / F.sum(F.when(defined, F.col("rows")))).alias("weighted_auc"),
    )
    return means.join(overall.drop("domain_id"), "model")


def print_tables(overall: DataFrame, by_domain: DataFrame, names: list[str]) -> None:
    """Prints, on stderr, the models and their AUC in the largest domains."""
    lines = [
        "",
        f"{'model':<14}{'mean-domain AUC':>16}{'weighted':>10}{'all rows':>10}{'log loss':>10}{'domains':>9}",
    ]
    found = {row["model"]: row for row in overall.collect()}
    for name in names:
        row = found[name]
        figures = (row["mean_domain_auc"], row["weighted_auc"], row["auc"], row["logloss"])
        shown = "".join(f"{_shown(figure):>{width}}" for figure, width in zip(figures, (16, 10, 10, 10), strict=True))
        lines.append(f"{name:<14}{shown}{row['domains_scored']:>9}")
    row = found[names[0]]
    lines.append(f"{row['rows']} test rows; {row['domains_undefined']} domains have one class and no AUC")
    largest = (
        by_domain.groupBy("domain_key", "rows")
        .pivot("model", names)
        .agg(F.first("auc"))
        .orderBy(F.desc("rows"), "domain_key")
    )
    lines += ["", f"{'largest domains':<44}{'rows':>8}" + "".join(f"{name:>12}" for name in names)]
    for row in largest.limit(LARGEST).collect():
        aucs = "".join(f"{_shown(row[name]):>12}" for name in names)
        lines.append(f"{row['domain_key'][:43]:<44}{row['rows']:>8}{aucs}")
    print("\n".join(lines), file=sys.stderr, flush=True)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _metrics(row: dict) -> dict:
    columns = (
        "rows",
        "domains_scored",
        "domains_undefined",
        "mean_domain_auc",
        "weighted_auc",
        "auc",
        "logloss",
    )
    return {column: row[column] for column in columns}


def _track(found: dict[str, dict], by_domain: DataFrame, key: ModelKey) -> None:
    """Adds the figures of each model, and those by domain as a table, to the run in MLflow."""
    tracker = open_tracker(key.config, key.shared_version)
    for model, metrics in found.items():
        tracker.log({f"{SPLIT}/{model}/{name}": value for name, value in metrics.items()})
    tracker.log_table(by_domain.drop("domain_id").toPandas(), f"{SPLIT}_by_domain")
    tracker.finish()


def _version_of(names: dict[str, bool], key: ModelKey) -> F.Column:
    """The version of each model's parameters."""
    result = F.lit(key.shared_version)
    for name, adds_specific in names.items():
        if adds_specific:
            result = F.when(F.col("model") == name, F.lit(key.model_version)).otherwise(result)
    return result


if __name__ == "__main__":
    run_job("evaluate", evaluate)
