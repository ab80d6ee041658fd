"""Tests a model on the test rows: AUC by domain of theta^S, of theta^S + theta^i, and of popularity beside them.

    spark-submit pipelines/evaluate.py --config conf/ml_latest_small.yaml [key=value ...]

The model is the one that training/train.py trains with the same settings.
"""

import sys
from collections.abc import Mapping, Sequence
from itertools import chain

import deltalake
from pyspark.sql import Column, DataFrame, Row, SparkSession
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

POPULARITY = "popularity"
METRICS = ("rows", "domains_scored", "domains_undefined", "mean_domain_auc", "weighted_auc", "auc", "logloss")
HEADINGS = {  # of the printed table
    "mean_domain_auc": "mean-domain AUC",
    "weighted_auc": "weighted AUC",
    "auc": "AUC of all rows",
    "logloss": "log loss",
}


def evaluate(spark: SparkSession, config: Config) -> dict:
    """Runs the whole job and returns its summary. Raises UserError."""
    snapshot = take_snapshot(config)
    key = ModelKey.find(config, snapshot.version)
    names = model_names(config)
    samples = tables.read(spark, config.table("samples"), snapshot.version)
    test = samples.where(F.col("split") == SPLIT)
    if test.isEmpty():
        raise UserError(
            f"table {config.table('samples')} has no {SPLIT} rows: rebuild it with a data.split that has some"
        )
    domains = tables.read(spark, config.table("domains"), snapshot.versions["domains"])
    offsets = tables.read(spark, config.table("domain_parameters")).where(F.col("model_version") == key.model_version)
    if any(names.values()):
        require_offsets(offsets, domains, key)
    versions = {name: key.model_version if adds else key.shared_version for name, adds in names.items()}
    versions[POPULARITY] = f"{POPULARITY}.version-{snapshot.version}"
    stamp = {
        "evaluated_at": F.current_timestamp(),
        "model_version": _lookup(versions, F.col("model")),
        "table_version": F.lit(snapshot.version).cast("bigint"),
        "split": F.lit(SPLIT),
    }
    with persisting() as persist:
        model_scores = score_samples(test, offsets, domains, names, key).select("model", "domain_id", "label", "logit")
        scores = persist(model_scores.unionByName(score_popularity(samples)))
        keys = domains.select("domain_id", "domain_key")
        by_domain = persist(_clear_logloss(auc_by(scores, "domain_id")).join(keys, "domain_id"))
        overall = persist(summarise(by_domain, _clear_logloss(auc_by(scores, "-1"))))
        for frame, name in ((by_domain, "metrics_by_domain"), (overall, "metrics")):
            _append(frame.withColumns(stamp), name, config.table(name))
        rows = {row["model"]: row for row in overall.collect()}
        models = {name: {metric: rows[name][metric] for metric in METRICS} for name in versions}
        _track(models, by_domain, key)
    print(comparison_table(_newest_metrics(spark, config, snapshot.version)), file=sys.stderr, flush=True)
    return {"models": models}


def model_names(config: Config) -> dict[str, bool]:
    """Returns the names of the models to test, each with whether it adds theta^i to theta^S."""
    return {framework_name(config.framework.shared, "none"): False} | {
        config.framework.name: config.framework.specific != "none"
    }


def score_popularity(samples: DataFrame) -> DataFrame:
    """Scores each test row by the number of the item's positives among the training rows of its domain.

    | split | domain_id | item_id | label |      | model      | domain_id | label | logit |
    | train | 1         | 7       | 1     |  ->  | popularity | 1         | 0     | 1     |
    | test  | 1         | 7       | 0     |
    """
    positives = (
        samples.where(F.col("split") == "train")
        .groupBy("domain_id", "item_id")
        .agg(F.sum("label").cast("double").alias("positives"))
    )
    return (
        samples.where(F.col("split") == SPLIT)
        .join(positives, ["domain_id", "item_id"], "left")
        .select(
            F.lit(POPULARITY).alias("model"),
            "domain_id",
            "label",
            F.coalesce("positives", F.lit(0.0)).alias("logit"),
        )
    )


def summarise(by_domain: DataFrame, overall: DataFrame) -> DataFrame:
    """Returns a row per model: means over the domains of `by_domain`, with AUC and log loss over all rows.

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


def comparison_table(rows: Sequence[Row]) -> str:
    """Lays out rows of the table metrics as text, the best mean-domain AUC first.

    The last column counts the domains with a defined AUC. The test rows of the others have only one class.
    """
    width = max(len("model"), *(len(row["model"]) for row in rows))
    lines = ["  ".join(["model".ljust(width), *HEADINGS.values(), "domains with an AUC"])]
    for row in sorted(rows, key=lambda row: -(row["mean_domain_auc"] or 0)):
        cells = [row["model"].ljust(width)]
        for column, heading in HEADINGS.items():
            cells.append(("" if row[column] is None else f"{row[column]:.4f}").rjust(len(heading)))
        scored = row["domains_scored"]
        cells.append(f"{scored} of {scored + row['domains_undefined']}".rjust(len("domains with an AUC")))
        lines.append("  ".join(cells))
    return "\n".join(lines)


def _newest_metrics(spark: SparkSession, config: Config, version: int) -> list[Row]:
    """Returns, for each name of a model, its last evaluation on this version of the samples."""
    metrics = tables.read(spark, config.table("metrics"))
    metrics = metrics.where((F.col("table_version") == version) & (F.col("split") == SPLIT))
    newest = metrics.groupBy("model").agg(F.max_by(F.struct(*METRICS), "evaluated_at").alias("newest"))
    return newest.select("model", "newest.*").collect()


def _clear_logloss(metrics: DataFrame) -> DataFrame:
    """Removes the log loss of popularity, whose counts are no probabilities."""
    return metrics.withColumn("logloss", F.when(F.col("model") != POPULARITY, F.col("logloss")))


def _append(frame: DataFrame, name: str, path: str) -> None:
    """Appends to a table of metrics. Earlier releases created these tables with a log loss that cannot be null."""
    spark = frame.sparkSession
    tables.create_table(spark, name, path)
    [logloss] = [field for field in deltalake.DeltaTable(path).schema().fields if field.name == "logloss"]
    if not logloss.nullable:
        spark.sql(f"ALTER TABLE delta.`{path}` ALTER COLUMN logloss DROP NOT NULL")
    tables.append(frame, name, path)


def _lookup(values: Mapping[str, str], key: Column) -> Column:
    """Returns the column expression that looks up `key` in `values`."""
    return F.create_map(*(F.lit(text) for text in chain.from_iterable(values.items())))[key]


def _track(models: dict[str, dict], by_domain: DataFrame, key: ModelKey) -> None:
    """Logs the metrics of each model, and a table of those by domain, to the model's run in MLflow."""
    tracker = open_tracker(key.config, key.shared_version)
    for model, metrics in models.items():
        tracker.log({f"{SPLIT}/{model}/{name}": value for name, value in metrics.items()})
    tracker.log_table(by_domain.drop("domain_id").toPandas(), f"{SPLIT}_by_domain")
    tracker.finish()


if __name__ == "__main__":
    run_job("evaluate", evaluate)
