"""Runs of the trainer whose embedding tables are sharded, and the jobs that read what they leave."""

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
from training.artifacts.model_names import model_path, shared_version
from training.artifacts.model_store import load_theta, read_manifest
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
    """Domains, logits of the model on disk, and labels."""
    snapshot = take_snapshot(config)
    model, theta = load_theta(model_path(config, shared_version(config, snapshot.version)), config)
    rows = read_buckets(snapshot, split)
    return rows["domain_id"], predict(model, theta, rows), rows["label"]


def val_auc(config):
    return domain_auc(*scored(config, "val")).mean


def rows_of(config):
    snapshot = take_snapshot(config)
    _, theta = load_theta(model_path(config, shared_version(config, snapshot.version)), config)
    ids = torch.from_numpy(read_buckets(snapshot, "train")["user_id"])
    return theta.tables["embeddings.user_id.weight"], ids


@pytest.mark.parametrize("framework", ["dn", "alternate", "reptile"])
def test_a_run_that_goes_on_is_the_run_that_never_stopped_also_in_patches_that_are_cut_to_fit(
    built, tmp_path, framework
):
    settings = [SHARDED, f"framework.name={framework}", "training.cache_rows=40"]
    in_parts, at_once = (built.copy(tmp_path / name) for name in ("parts", "once"))
    for epochs in (1, 2, 4):
        parts = train(built.config(*settings, in_parts, f"training.epochs={epochs}"))
    once = train(built.config(*settings, at_once, "training.epochs=4"))
    assert parts["val_mean_domain_auc"] == once["val_mean_domain_auc"]
    tables = [built.config(*settings, root) for root in (in_parts, at_once)]
    (one, ids), (other, _) = map(rows_of, tables)
    assert_close({"": one[ids]}, {"": other[ids]})
    assert val_auc(tables[0]) == pytest.approx(once["val_mean_domain_auc"], abs=1e-9)


def test_a_kill_between_a_checkpoint_and_the_next_loses_no_shard_of_the_best_epoch(built, tmp_path, monkeypatch):
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
        assert_every_checkpoint_has_its_shards(model_path(built.config(killed), once["model_path"].rsplit("/")[-1]))
    monkeypatch.undo()
    parts = train(built.config(*settings, killed, "training.epochs=4"))
    assert parts["val_mean_domain_auc"] == once["val_mean_domain_auc"]


def assert_every_checkpoint_has_its_shards(folder):
    for state in tensor_folder.read_states(folder / "checkpoints"):
        for kind, epoch in (("last", state["epoch"]), ("best", state["best_epoch"])):
            assert list((folder / f"shards-{kind}-{epoch:05d}").glob("0of1.safetensors")), (kind, epoch)


def test_the_whole_chain_runs_on_two_hosts_and_goes_on_with_one_rank(spark, built, tmp_path):
    root = built.copy(tmp_path)
    settings = [SHARDED, root, "framework.name=mamdr", "model.name=deepfm", "training.cache_rows=45"]
    command = [sys.executable, "training/train.py", "--config", built.config_path, *settings, "training.epochs=1"]
    done = horovodrun("-np", "2", "-H", "localhost:1,127.0.0.1:1", *command)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1].partition(":")[2])
    config = built.config(*settings)
    assert val_auc(config) == pytest.approx(summary["val_mean_domain_auc"], abs=1e-9)
    [epoch] = read_manifest(Path(summary["model_path"]))["progress"]["history"]
    parts = epoch["seconds_by_part"]
    assert set(parts) == {"read", "wait", "pull", "push", "allreduce", "inner"}
    assert min(parts.values()) > 0
    assert sum(parts.values()) < epoch["seconds"]
    summary = train(config)
    assert summary["epochs"] == 2
    assert val_auc(config) == pytest.approx(summary["val_mean_domain_auc"], abs=1e-9)
    assert dr_longtail(spark, config)["domains"] == 10
    models = evaluate(spark, config)["models"]
    assert set(models) == {"dn", "mamdr"}
    assert models["dn"]["auc"] == pytest.approx(roc_auc_score(*reversed(scored(config, "test")[1:])), abs=1e-6)


def test_a_run_without_validation_rows_ends_as_it_does_with_whole_tables(built, tmp_path):
    root = built.copy(tmp_path)
    settings = [root, "framework.name=dn", "training.epochs=1"]
    DeltaTable(built.config(*settings).table("samples")).delete("split = 'val'")
    whole, sharded = (train(built.config(*settings, *further)) for further in ([], [SHARDED]))
    assert sharded["samples"] == whole["samples"]
    np.testing.assert_equal(sharded["val_mean_domain_auc"], whole["val_mean_domain_auc"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["training.sharded=[users]"],
            "names users, which has no learned embeddings: there are those of user_id, item",
        ),
        (["training.sharded=[domain_id]"], '"training.sharded" must be without domain_id'),
        ([SHARDED, "framework.name=mamdr", "framework.interleave=true"], '"framework.interleave" must be false'),
    ],
)
def test_what_cannot_be_sharded_is_refused(built, settings, message):
    with pytest.raises(UserError, match=message):
        train(load_config(built.config_path, settings))
