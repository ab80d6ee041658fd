"""Tests the training command on one and two ranks."""

import json
import sys

import pytest
import torch

from tests.support.jobs import horovodrun
from training.artifacts.manifest import trained_state
from training.artifacts.model_names import model_path, shared_version, specific_version
from training.artifacts.model_store import load_theta
from training.config.framework_settings import adaptation_settings
from training.data.delta_files import read_columns
from training.data.snapshot import take_snapshot
from training.distributed.ranks import Ranks
from training.frameworks.specific.adapter import Adapter
from training.loop.gather_adapter import gather_adapter
from training.loop.training_run import Workers

SUMMARY = {
    "framework",
    "model",
    "ranks",
    "epochs",
    "samples",
    "samples_per_second",
    "best_epoch",
    "val_mean_domain_auc",
    "model_path",
}


@pytest.mark.parametrize("framework", ["mamdr", "joint_subspace"])
def test_two_ranks_train_and_rank_0_prints_the_summary(built, tmp_path, framework):
    root = built.copy(tmp_path)
    settings = ("--config", built.config_path, root, f"framework.name={framework}")
    done = horovodrun("-np", "2", sys.executable, "training/train.py", *settings)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    prefix, _, last = lines[-1].partition(":")
    assert prefix == "[0]<stdout>"
    assert len(lines) == 1
    summary = json.loads(last)
    assert set(summary) == SUMMARY
    assert summary["ranks"] == 2
    assert (summary["framework"], summary["model"]) == (framework, "mlp")
    config = built.config(root, f"framework.name={framework}")
    written = read_columns(config.table("domain_parameters"), ["domain_id"])
    snapshot = take_snapshot(config)
    assert sorted(written["domain_id"].tolist()) == snapshot.domains.domain_id[snapshot.domains.head].tolist()
    if framework == "joint_subspace":
        assert_directions_equal_those_of_one_rank(config, snapshot, summary["best_epoch"])


def assert_directions_equal_those_of_one_rank(config, snapshot, best_epoch):
    shared = load_theta(model_path(config, shared_version(config, snapshot.version)), config)
    expected = gather_adapter(*shared, Workers(config=config, snapshot=snapshot, ranks=Ranks())).directions
    name = shared_version(config, snapshot.version)
    folder = model_path(config, specific_version(config, name, trained_state(best_epoch)))
    stored = Adapter.load(folder, *shared, adaptation_settings(config)).directions
    assert expected.shape == (12, sum(value.numel() for value in shared[1].dense.values()))
    assert torch.allclose(stored.T @ stored, expected.T @ expected, rtol=0, atol=1e-6)  # an axis may point either way


def test_user_error_on_two_ranks_is_one_line_and_exit_code_2(built):
    settings = ("--config", built.config_path, "training.epoch=3")
    done = horovodrun("-np", "2", sys.executable, "training/train.py", *settings)
    assert done.returncode == 2
    assert 'config key "training.epoch" (command line) does not exist: did you mean "training.epochs"?' in done.stderr
    assert "Traceback" not in done.stderr
