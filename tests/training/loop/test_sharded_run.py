"""Tests training with sharded embedding tables, and the jobs that read the stored shards."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from deltalake import DeltaTable
from sklearn.metrics import roc_auc_score

from pipelines.dr_longtail import dr_longtail
from pipelines.evaluate import evaluate
from tests.support.jobs import horovodrun
from tests.support.reference import assert_close
from training.artifacts.manifest import read_manifest
from training.artifacts.model_names import model_path, shared_version
from training.artifacts.model_store import load_theta
from training.config import load_config
from training.data.petastorm_reader import read_buckets
from training.data.snapshot import take_snapshot
from training.errors import UserError
from training.files import tensor_folder
from training.metrics import domain_auc
from training.parameters.forward import predict
from training.train import train

SHARDED = "training.sharded=[user_id,item_id]"


def scored(config, split):
    """Returns domain, logit by the stored model, and label of the rows of a split."""
    snapshot = take_snapshot(config)
    model, theta = load_theta(model_path(config, shared_version(config, snapshot.version)), config)
    rows = read_buckets(snapshot, split)
    return rows["domain_id"], predict(model, theta, rows), rows["label"]


def val_auc(config):
    return domain_auc(*scored(config, "val")).mean


def table_and_ids(config):
    """Returns the stored table of users, and the user of each training row."""
    snapshot = take_snapshot(config)
    _, theta = load_theta(model_path(config, shared_version(config, snapshot.version)), config)
    ids = torch.from_numpy(read_buckets(snapshot, "train")["user_id"])
    return theta.tables["embeddings.user_id.weight"], ids


@pytest.mark.parametrize("framework", ["dn", "alternate", "reptile"])
def test_resumed_run_with_small_caches_equals_uninterrupted_run(built, tmp_path, framework):
    settings = [SHARDED, f"framework.name={framework}", "training.cache_rows=40"]
    interrupted, at_once = (built.copy(tmp_path / name) for name in ("interrupted", "once"))
    for epochs in (1, 2, 4):
        resumed = train(built.config(*settings, interrupted, f"training.epochs={epochs}"))
    once = train(built.config(*settings, at_once, "training.epochs=4"))
    assert resumed["val_mean_domain_auc"] == once["val_mean_domain_auc"]
    configs = [built.config(*settings, root) for root in (interrupted, at_once)]
    (resumed_table, ids), (table, _) = map(table_and_ids, configs)
    assert_close({"": resumed_table[ids]}, {"": table[ids]})
    assert val_auc(configs[0]) == pytest.approx(once["val_mean_domain_auc"], abs=1e-9)


def test_kill_between_two_checkpoints_loses_no_shard(built, tmp_path, monkeypatch):
    settings = [SHARDED, "framework.name=dn"]
    killed, whole = (built.copy(tmp_path / name) for name in ("killed", "whole"))
    once = train(built.config(*settings, whole, "training.epochs=4"))
    save_epoch = tensor_folder.save_epoch
    for epoch in range(1, 5):

        def die(folder, at, *arguments, epoch=epoch):
            if at == epoch:
                raise KeyboardInterrupt
            save_epoch(folder, at, *arguments)

        monkeypatch.setattr(tensor_folder, "save_epoch", die)
        with pytest.raises(KeyboardInterrupt):
            train(built.config(*settings, killed, "training.epochs=4"))
        assert_checkpoints_have_their_shards(model_path(built.config(killed), once["model_path"].rsplit("/")[-1]))
    monkeypatch.undo()
    resumed = train(built.config(*settings, killed, "training.epochs=4"))
    assert resumed["val_mean_domain_auc"] == once["val_mean_domain_auc"]


def assert_checkpoints_have_their_shards(folder):
    for state in tensor_folder.read_states(folder / "checkpoints"):
        for kind, epoch in (("last", state["epoch"]), ("best", state["best_epoch"])):
            assert list((folder / f"shards-{kind}-{epoch:05d}").glob("0of1.safetensors")), (kind, epoch)


def test_all_jobs_run_after_training_on_two_hosts_then_on_one_rank(spark, built, tmp_path):
    root = built.copy(tmp_path)
    settings = [SHARDED, root, "framework.name=mamdr", "model.name=deepfm", "training.cache_rows=45"]
    command = [sys.executable, "training/train.py", "--config", built.config_path, *settings, "training.epochs=1"]
    done = horovodrun("-np", "2", "-H", "localhost:1,127.0.0.1:1", *command)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1].partition(":")[2])
    config = built.config(*settings)
    assert val_auc(config) == pytest.approx(summary["val_mean_domain_auc"], abs=1e-9)
    [epoch] = read_manifest(Path(summary["model_path"]))["progress"]["history"]
    phases = epoch["seconds_by_part"]
    assert set(phases) == {"read", "wait", "pull", "push", "allreduce", "inner"}
    assert min(phases.values()) > 0
    assert sum(phases.values()) < epoch["seconds"]
    summary = train(config)
    assert summary["epochs"] == 2
    assert val_auc(config) == pytest.approx(summary["val_mean_domain_auc"], abs=1e-9)
    assert dr_longtail(spark, config)["domains"] == 10
    models = evaluate(spark, config)["models"]
    assert set(models) == {"dn", "mamdr", "popularity"}
    assert models["dn"]["auc"] == pytest.approx(roc_auc_score(*reversed(scored(config, "test")[1:])), abs=1e-6)


def test_run_without_validation_rows_ends_as_with_whole_tables(built, tmp_path):
    root = built.copy(tmp_path)
    settings = [root, "framework.name=dn", "training.epochs=1"]
    DeltaTable(built.config(*settings).table("samples")).delete("split = 'val'")
    whole, sharded = (train(built.config(*settings, *sharded_setting)) for sharded_setting in ([], [SHARDED]))
    assert sharded["samples"] == whole["samples"]
    np.testing.assert_equal(sharded["val_mean_domain_auc"], whole["val_mean_domain_auc"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["training.sharded=[users]"],
            "names users, which has no learned embeddings: choose among user_id, item",
        ),
        (["training.sharded=[domain_id]"], '"training.sharded" must be without domain_id'),
        ([SHARDED, "framework.name=mamdr", "framework.interleave=true"], '"framework.interleave" must be false'),
    ],
)
def test_tables_that_cannot_be_sharded_are_refused(built, settings, message):
    with pytest.raises(UserError, match=message):
        train(load_config(built.config_path, settings))
