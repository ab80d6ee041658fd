"""Tests epochs, checkpoints and early stopping of the trainer."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.reference import LEARNED, assert_close
from training.data.petastorm_reader import read_buckets
from training.data.snapshot import take_snapshot
from training.errors import UserError
from training.files import tensor_folder
from training.train import train


def theta_of(summary):
    """Returns the tensors of the stored theta^S, and its manifest."""
    return tensor_folder.load(Path(summary["model_path"]) / "theta")


@pytest.mark.parametrize("framework", LEARNED)
def test_each_epoch_reads_every_listed_row(built, framework):
    config = built.config(f"framework.name={framework}")
    summary = train(config)
    listed = sum(take_snapshot(config).rows_by_bucket("train").values())
    assert summary["samples"] == 2 * listed
    _, manifest = theta_of(summary)
    assert [epoch["rows_read"] for epoch in manifest["progress"]["history"]] == [listed, listed]


def test_several_rounds_of_an_epoch_read_every_row_once(built, tmp_path):
    config = built.config("framework.name=dn", "training.rounds_per_epoch=3", built.copy(tmp_path))
    assert train(config)["samples"] == 2 * sum(take_snapshot(config).rows_by_bucket("train").values())


@pytest.mark.parametrize("framework", ["alternate", "dn", "weighted", "interleaved"])
def test_resumed_run_equals_uninterrupted_run(built, tmp_path, framework):
    settings = ["framework.name=mamdr", "framework.interleave=true"]
    settings = settings if framework == "interleaved" else [f"framework.name={framework}"]
    interrupted, at_once = (built.copy(tmp_path / name) for name in ("interrupted", "once"))
    for epochs in (1, 2, 4):
        resumed = train(built.config(*settings, interrupted, f"training.epochs={epochs}"))
    once = train(built.config(*settings, at_once, "training.epochs=4"))
    assert resumed["best_epoch"] == once["best_epoch"]
    assert resumed["val_mean_domain_auc"] == once["val_mean_domain_auc"]
    assert_close(theta_of(resumed)[0], theta_of(once)[0])


def test_nan_loss_ends_the_run_and_the_next_run_resumes(built, tmp_path, monkeypatch, capfd):
    settings = ["framework.name=dn", built.copy(tmp_path)]
    train(built.config(*settings, "training.epochs=1"))

    def read_bad_rows(*arguments):
        rows = read_buckets(*arguments)
        return {**rows, "label": np.where(rows["domain_id"] == 3, np.nan, rows["label"]).astype(np.float32)}

    with monkeypatch.context() as patch:
        patch.setattr("training.loop.trainer.read_buckets", read_bad_rows)
        with pytest.raises(UserError, match=r"loss is nan in step \d+, in a batch of domain_id .*3"):
            train(built.config(*settings, "training.epochs=3"))
    assert train(built.config(*settings, "training.epochs=3"))["epochs"] == 3
    assert capfd.readouterr().err.count("resuming after epoch 1") == 2


def test_torn_checkpoint_is_skipped(built, tmp_path):
    settings = ["framework.name=dn", built.copy(tmp_path)]
    folder = Path(train(built.config(*settings))["model_path"]) / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["epoch-00001", "epoch-00002"]
    (folder / "epoch-00002" / tensor_folder.TENSORS).write_bytes(b"torn")
    assert train(built.config(*settings))["epochs"] == 2
    assert tensor_folder.load_last(folder)[1]["epoch"] == 2


def test_patience_ends_the_run_and_the_best_epoch_is_restored(built):
    settings = (
        "framework.name=joint",
        "framework.inner_lr=0.05",
        "training.epochs=40",
        "training.patience=2",
    )
    summary = train(built.config(*settings))
    assert summary["epochs"] == summary["best_epoch"] + 2 < 40
    _, manifest = theta_of(summary)
    history = manifest["progress"]["history"]
    assert max(epoch["val_mean_domain_auc"] for epoch in history) == summary["val_mean_domain_auc"]


def test_seed_decides_the_model(built, tmp_path):
    roots = [built.copy(tmp_path / name) for name in "abc"]
    thetas = [
        theta_of(train(built.config("framework.name=dn", root, f"seed={seed}")))[0]
        for root, seed in zip(roots, (0, 0, 1), strict=True)
    ]
    assert_close(thetas[0], thetas[1])
    assert not all((thetas[0][name] == thetas[2][name]).all() for name in thetas[0])
