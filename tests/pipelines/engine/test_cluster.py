"""Trains with driver and executors in separate processes, as on a cluster."""

import json

import pytest

from pipelines.train_on_spark import train_on_spark
from tests.support.jobs import standalone, submit
from training.data.snapshot import take_snapshot
from training.errors import UserError


def test_executors_of_a_standalone_cluster_train(built, tmp_path):
    settings = [built.copy(tmp_path), "framework.name=joint_dr"]
    job = ["--conf", "spark.executor.cores=1", "pipelines/train_on_spark.py", "--config", built.config_path]
    with standalone(tmp_path / "work") as master:
        done = submit(master, *job, *settings)
    assert done.returncode == 0, done.stderr[-3000:]
    trained = json.loads(done.stdout.splitlines()[-1])
    assert (trained["ranks"], trained["epochs"], "rank" in trained) == (2, 2, False)
    snapshot = take_snapshot(built.config(*settings))
    assert trained["samples"] == 2 * sum(snapshot.rows_by_bucket("train").values())


def test_more_ranks_than_cores_is_an_error_at_once(built, tmp_path, monkeypatch):
    monkeypatch.setenv("HOROVOD_SPARK_START_TIMEOUT", "5")
    options = ["--conf", "spark.default.parallelism=3", "pipelines/train_on_spark.py", "--config", built.config_path]
    done = submit("local[2]", *options, built.copy(tmp_path))
    assert done.returncode == 2, done.stderr[-3000:]
    assert "error: the cluster had no 3 cores free within 5 s" in done.stderr


def test_driver_reports_a_user_error_of_an_executor(spark, built):
    with pytest.raises(UserError, match="training.device is cuda, but torch finds no GPU"):
        train_on_spark(spark, built.config("training.device=cuda"))
