"""Evaluation: exact metrics, undefined domains, popularity, and the same logits as in training."""

import numpy as np
import pandas as pd
import pytest
from chispa import assert_df_equality
from pyspark.sql import Row
from sklearn.metrics import log_loss, roc_auc_score

from pipelines.dr_longtail import dr_longtail
from pipelines.engine import tables
from pipelines.evaluate import comparison_table, evaluate, model_names, score_popularity, summarise
from pipelines.serving.quality import auc_by
from pipelines.tasks.model_key import ModelKey, open_theta
from training.artifacts.domain_parameters import from_row
from training.compare.baselines import popularity
from training.data.petastorm_reader import read_buckets
from training.data.snapshot import take_snapshot
from training.errors import UserError
from training.parameters.forward import predict, predict_adapted
from training.train import train

SCORES = "model STRING, domain_id INT, label FLOAT, logit DOUBLE"
METRICS = {"rows", "domains_scored", "domains_undefined", "mean_domain_auc", "weighted_auc", "auc", "logloss"}


@pytest.mark.parametrize("partitions", [1, 2, 5])
def test_auc_and_log_loss_match_scikit_learn_for_any_partitioning(spark, shuffle_partitions, partitions):
    shuffle_partitions(partitions)
    rng = np.random.default_rng(0)
    rows = [("m", int(rng.integers(3)), float(rng.integers(2)), float(rng.integers(-4, 5))) for _ in range(200)]
    metrics = {row["domain_id"]: row for row in auc_by(spark.createDataFrame(rows, SCORES), "domain_id").collect()}
    for domain in range(3):
        labels, logits = zip(*[row[2:] for row in rows if row[1] == domain], strict=True)
        probabilities = 1 / (1 + np.exp(-np.array(logits)))
        assert metrics[domain]["auc"] == pytest.approx(roc_auc_score(labels, logits), abs=1e-12)
        assert metrics[domain]["logloss"] == pytest.approx(log_loss(labels, probabilities), abs=1e-9)
        assert metrics[domain]["rows"] == len(labels)
    labels, logits = zip(*[row[2:] for row in rows], strict=True)
    [overall] = auc_by(spark.createDataFrame(rows, SCORES), "-1").collect()
    assert overall["auc"] == pytest.approx(roc_auc_score(labels, logits), abs=1e-12)


def test_number_of_tasks_does_not_grow_with_the_domains(spark):
    tracker, context = spark.sparkContext.statusTracker(), spark.sparkContext
    tasks = []
    for domains in (2, 2_000):
        scores = spark.range(4_000).selectExpr(
            "'m' AS model",
            f"CAST(id % {domains} AS INT) AS domain_id",
            "CAST(id DIV 2000 AS FLOAT) AS label",
            "CAST(id AS DOUBLE) AS logit",
        )
        context.setJobGroup(f"auc {domains}", "")
        assert auc_by(scores, "domain_id").count() == domains
        jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(f"auc {domains}")]
        tasks.append(sum(tracker.getStageInfo(stage).numTasks for job in jobs for stage in job.stageIds))
    context.setLocalProperty("spark.jobGroup.id", None)
    assert tasks[0] == tasks[1] < 20


def test_domain_with_one_class_has_no_auc(spark):
    rows = [("m", 1, 1.0, 0.5), ("m", 1, 0.0, 0.1), ("m", 2, 1.0, 0.3)]
    aucs = {row["domain_id"]: row["auc"] for row in auc_by(spark.createDataFrame(rows, SCORES), "domain_id").collect()}
    assert aucs == {1: 1.0, 2: None}


def test_extreme_logits_have_a_finite_log_loss(spark):
    rows = [("m", 1, 1.0, -800.0), ("m", 1, 0.0, 800.0)]
    [row] = auc_by(spark.createDataFrame(rows, SCORES), "domain_id").collect()
    assert row["logloss"] == 800.0


def test_means_leave_out_undefined_domains_and_count_them(spark):
    by_domain = spark.createDataFrame(
        [("dn", 10, 0.5), ("dn", 30, 1.0), ("dn", 10, None)], "model STRING, rows BIGINT, auc DOUBLE"
    )
    overall = spark.createDataFrame([("dn", -1, 50, 0.7)], "model STRING, domain_id INT, rows BIGINT, auc DOUBLE")
    expected = spark.createDataFrame(
        [("dn", 2, 1, 0.75, 0.875, 50, 0.7)],
        "model STRING, domains_scored INT, domains_undefined INT, mean_domain_auc DOUBLE, weighted_auc DOUBLE, "
        "rows BIGINT, auc DOUBLE",
    )
    assert_df_equality(summarise(by_domain, overall), expected, ignore_nullable=True)


def test_python_workers_reload_a_model_that_was_trained_further(spark, built, tmp_path):
    """Spark reuses Python processes, and these cache the model."""
    root = built.copy(tmp_path)
    runs = []
    for epochs in (1, 8):
        config = built.config(root, "framework.name=joint", "framework.inner_lr=0.02", f"training.epochs={epochs}")
        best = train(config)["best_epoch"]
        runs.append((best, evaluate(spark, config)["models"]["joint"]["logloss"]))
    (first_epoch, first), (second_epoch, second) = runs
    assert first_epoch < second_epoch
    assert first != second


def test_shared_model_is_evaluated_beside_the_whole_one(built):
    assert model_names(built.config("framework.name=mamdr")) == {"dn": False, "mamdr": True}
    assert model_names(built.config("framework.name=joint")) == {"joint": False}


def test_popularity_counts_positives_in_the_training_rows_of_the_domain(spark):
    samples = spark.createDataFrame(
        [
            ("train", 1, 7, 1.0),
            ("train", 1, 7, 1.0),
            ("train", 1, 7, 0.0),
            ("train", 2, 8, 1.0),
            ("val", 1, 8, 1.0),
            ("test", 1, 7, 0.0),
            ("test", 1, 8, 1.0),
        ],
        "split STRING, domain_id INT, item_id BIGINT, label FLOAT",
    )
    expected = spark.createDataFrame([("popularity", 1, 0.0, 2.0), ("popularity", 1, 1.0, 0.0)], SCORES)
    assert_df_equality(score_popularity(samples), expected, ignore_nullable=True, ignore_row_order=True)


def test_comparison_table_is_aligned_and_sorted():
    columns = Row("model", "mean_domain_auc", "weighted_auc", "auc", "logloss", "domains_scored", "domains_undefined")
    rows = [
        columns("popularity", 0.6, 0.61, 0.62, None, 480, 152),
        columns("dn", 0.72451, 0.7, 0.71, 0.5, 480, 152),
        columns("unscored", None, None, 0.5, 0.7, 0, 632),
    ]
    assert comparison_table(rows).splitlines() == [
        "model       mean-domain AUC  weighted AUC  AUC of all rows  log loss  domains with an AUC",
        "dn                   0.7245        0.7000           0.7100    0.5000           480 of 632",
        "popularity           0.6000        0.6100           0.6200                     480 of 632",
        "unscored                                            0.5000    0.7000             0 of 632",
    ]


def test_metrics_match_the_forward_pass_of_the_trainer(spark, built, keep_rounds, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("pipelines.tasks.score_samples.DOMAINS_PER_TASK", 2)  # buckets are scored in parts
    config = built.config(built.copy(tmp_path), "framework.name=joint_dr")
    train(config)
    keep_rounds(config)
    for name in ("metrics", "metrics_by_domain"):  # as earlier releases created them
        definition = tables.statement(f"tables/{name}", table=f"delta.`{config.table(name)}`", features="")
        spark.sql(definition.replace("logloss DOUBLE", "logloss DOUBLE NOT NULL"))
    with pytest.raises(UserError, match="lacks the offsets of 10 tail domains: run pipelines/dr_longtail.py"):
        evaluate(spark, config)
    dr_longtail(spark, config)
    models = evaluate(spark, config)["models"]
    printed = capfd.readouterr().err

    snapshot = take_snapshot(config)
    key = ModelKey.find(config, snapshot.version)
    model, theta = open_theta(key)
    test = read_buckets(snapshot, "test")
    parameters = spark.read.format("delta").load(config.table("domain_parameters")).collect()
    offsets = {row["domain_id"]: from_row(row.asDict(recursive=True), theta, "float32") for row in parameters}
    logits = {"joint": predict(model, theta, test)}
    learned = {domain: value for domain, value in offsets.items() if value is not None}
    logits["joint_dr"] = predict_adapted(model, theta, test, learned, logits["joint"])
    assert not np.array_equal(logits["joint"], logits["joint_dr"])

    assert list(models) == ["joint", "joint_dr", "popularity"]
    train_rows = read_buckets(snapshot, "train")
    logits["popularity"] = popularity(*(pd.DataFrame(_ids_and_label(rows)) for rows in (train_rows, test)))
    assert models["popularity"]["logloss"] is None
    assert all(models[name]["logloss"] > 0 for name in ("joint", "joint_dr"))
    for name, metrics in models.items():
        assert set(metrics) == METRICS
        aucs = [
            roc_auc_score(test["label"][rows], logits[name][rows])
            for domain in np.unique(test["domain_id"])
            if len(set(test["label"][rows := test["domain_id"] == domain])) == 2
        ]
        assert metrics["domains_scored"] == len(aucs)
        assert metrics["domains_scored"] + metrics["domains_undefined"] == len(np.unique(test["domain_id"]))
        assert metrics["mean_domain_auc"] == pytest.approx(np.mean(aucs), abs=1e-6)
        assert metrics["auc"] == pytest.approx(roc_auc_score(test["label"], logits[name]), abs=1e-6)
        assert metrics["rows"] == len(test["label"])
        assert f"{metrics['mean_domain_auc']:.4f}" in printed

    stored = spark.read.format("delta").load(config.table("metrics")).collect()
    assert {row["model"]: row["mean_domain_auc"] for row in stored} == {
        name: metrics["mean_domain_auc"] for name, metrics in models.items()
    }
    versions = {row["model"]: row["model_version"] for row in stored}
    expected = {"joint": key.shared_version, "joint_dr": key.model_version}
    assert versions == expected | {"popularity": f"popularity.version-{snapshot.version}"}
    by_domain = spark.read.format("delta").load(config.table("metrics_by_domain"))
    assert by_domain.where("auc IS NULL").count() == sum(m["domains_undefined"] for m in models.values()) > 0


def _ids_and_label(rows):
    return {name: rows[name] for name in ("domain_id", "item_id", "label")}
