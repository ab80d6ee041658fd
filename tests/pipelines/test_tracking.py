"""What MLflow is told of a model, and that nothing depends on it."""

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
    """A function (*settings) -> config of a new root whose runs go to MLflow's local store."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    root = built.copy(tmp_path)
    return lambda *settings: built.config(root, "track=true", "framework.name=joint", *settings)


def runs_of(config):
    client = mlflow.MlflowClient(f"sqlite:///{config.root}/mlflow.db")
    [experiment] = [one for one in client.search_experiments() if one.name != "Default"]
    return client, client.search_runs([experiment.experiment_id])


def test_a_model_is_one_run_with_settings_epochs_test_figures_and_the_report(spark, tracked):
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
    assert len(by_domain["data"]) == metrics["domains_scored"] + metrics["domains_undefined"]
    plots = [file.path for file in client.list_artifacts(run.info.run_id, "plots")]
    assert "plots/Learning curve.svg" in plots
    assert run.info.status == "FINISHED"


def test_a_password_in_a_url_is_not_among_the_settings(tracked):
    config = tracked()
    config.data.path = "s3a://someone:secret@bucket/log"
    open_tracker(config, "a-model")
    _, [run] = runs_of(config)
    assert run.data.params["data.path"] == "s3a://***@bucket/log"


def test_where_mlflow_is_not_installed_one_warning_says_so_and_the_run_goes_on(tracked, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert train(tracked())["epochs"] == 2
    assert capsys.readouterr().err.count("warning: tracking in MLflow stops here") == 1


def test_where_the_server_is_away_one_warning_says_so_and_the_run_goes_on(tracked, monkeypatch, capsys):
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:secret@127.0.0.1:{port}")
    assert train(tracked())["epochs"] == 2
    error = capsys.readouterr().err
    assert error.count("warning: tracking in MLflow stops here") == 1
    assert "secret" not in error


def test_a_server_that_goes_away_is_asked_no_more(capsys):
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
