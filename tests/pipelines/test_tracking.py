"""Tracking: MLflow gets the settings and figures of a model, and no run fails without MLflow."""

import sys

import mlflow
import pytest

from pipelines.evaluate import evaluate
from tests.support.jobs import free_port
from training.report.__main__ import write_report
from training.tracking import MODEL, Tracker, open_tracker
from training.train import train


@pytest.fixture
def tracked(built, tmp_path, monkeypatch):
    """A function (*settings) -> config of a new root, whose runs are tracked in MLflow's local store."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    root = built.copy(tmp_path)
    return lambda *settings: built.config(root, "track=true", "framework.name=joint", *settings)


def runs_of(config):
    client = mlflow.MlflowClient(f"sqlite:///{config.root}/mlflow.db")
    [experiment] = [each for each in client.search_experiments() if each.name != "Default"]
    return client, client.search_runs([experiment.experiment_id])


def test_model_is_one_run_with_settings_figures_and_report(spark, tracked):
    summary = train(tracked())
    config = tracked("training.epochs=3")
    train(config)
    metrics = evaluate(spark, config)["models"]["joint"]
    write_report(config)
    client, [run] = runs_of(config)
    assert run.data.tags[MODEL] == summary["model_path"].split("/")[-1]
    assert (run.data.params["seed"], run.data.params["training.epochs"]) == ("0", "2")
    history = client.get_metric_history(run.info.run_id, "val_mean_domain_auc")
    assert [point.step for point in history] == [1, 2, 3]
    assert run.data.metrics["test/joint/mean_domain_auc"] == pytest.approx(metrics["mean_domain_auc"])
    by_domain = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/test_by_domain.json")
    rows_of_joint = [row for row in by_domain["data"] if "joint" in row]  # popularity has as many
    assert len(rows_of_joint) == metrics["domains_scored"] + metrics["domains_undefined"]
    plots = [file.path for file in client.list_artifacts(run.info.run_id, "plots")]
    assert "plots/Learning curve.svg" in plots
    assert run.info.status == "FINISHED"


def test_password_in_a_url_is_not_tracked(tracked):
    config = tracked()
    config.data.path = "s3a://someone:secret@bucket/log"
    open_tracker(config, "a-model")
    _, [run] = runs_of(config)
    assert run.data.params["data.path"] == "s3a://***@bucket/log"


def test_run_without_mlflow_prints_one_warning_and_succeeds(tracked, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert train(tracked())["epochs"] == 2
    assert capsys.readouterr().err.count("warning: tracking in MLflow stops here") == 1


def test_run_without_server_prints_one_warning_and_succeeds(tracked, monkeypatch, capsys):
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:secret@127.0.0.1:{port}")
    assert train(tracked())["epochs"] == 2
    error = capsys.readouterr().err
    assert error.count("warning: tracking in MLflow stops here") == 1
    assert "secret" not in error


def test_server_that_failed_is_not_called_again(capsys):
    calls = []

    class Failing:
        def log_batch(self, *arguments):
            calls.append(arguments)
            raise ConnectionError("gone\nfor good")

    tracker = Tracker(Failing(), "run")
    for step in range(3):
        tracker.log({"auc": 0.5, "nothing": None, "nan": float("nan")}, step)
    assert len(calls) == 1
    assert capsys.readouterr().err == "warning: tracking in MLflow stops here: gone\n"
