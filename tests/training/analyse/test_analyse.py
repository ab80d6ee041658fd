"""The analyses on a small data set: each returns figures and a plot."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.reference import loss_of, random_rows, small_model
from training.analyse import gain_by_size, gradient_agreement, helper_count, rate_grid
from training.analyse.gradient_agreement import cosines
from training.compare.study import Study

ROOT = Path(__file__).parents[3]


def test_cosines_compare_the_gradients_of_whole_domains():
    model, rows = small_model(dropout=0.5), random_rows(60, seed=1)
    actual = cosines(model, rows)
    flat = []
    for domain in np.argsort(-np.bincount(rows["domain_id"]), kind="stable"):
        model.zero_grad()
        loss_of(model.eval(), rows, np.flatnonzero(rows["domain_id"] == domain)).backward()
        flat.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    expected = [torch.cosine_similarity(flat[i], flat[j], dim=0).item() for i in range(4) for j in range(i + 1, 4)]
    np.testing.assert_allclose(actual, expected, atol=1e-9)


@pytest.fixture
def config(built, tmp_path):
    return lambda *settings: built.config(built.copy(tmp_path), "framework.dr_batch_size=16", *settings)


def test_gradients_are_compared_before_and_after_each_framework(config):
    figures, svg = gradient_agreement.gradients(config())
    assert set(figures) == {"before training", "after alternate", "after dn", "after pcgrad"}
    assert all(
        -1 <= figure["mean_cosine"] <= 1 and 0 <= figure["conflicting_pairs"] <= 1 for figure in figures.values()
    )
    assert svg.startswith("<svg")


def test_helper_count_starts_at_zero(config, monkeypatch):
    monkeypatch.setattr(helper_count, "COUNTS", (1, 2))
    settings = config("framework.name=mamdr")
    figures, svg = helper_count.helpers(settings)
    study = Study(settings)
    assert figures["mean_domain_auc"][0] == study.mean_domain_auc(study.shared_logits("test"))
    assert set(figures["mean_domain_auc"]) == {0, 1, 2}
    assert svg.startswith("<svg")


def test_rate_grid_has_a_row_per_inner_and_a_column_per_outer_rate(config, monkeypatch):
    monkeypatch.setattr(rate_grid, "INNER", (0.001, 0.01))
    monkeypatch.setattr(rate_grid, "OUTER", (0.5,))
    figures, svg = rate_grid.rates(config("framework.name=dn"))
    assert np.shape(figures["mean_domain_auc"]) == (2, 1)
    assert figures["mean_domain_auc"][0] != figures["mean_domain_auc"][1]
    assert svg.startswith("<svg")


def test_gain_is_averaged_by_size_of_the_domain(config, monkeypatch):
    monkeypatch.setattr(gain_by_size, "BINS", 3)
    figures, svg = gain_by_size.gain(config("framework.name=joint_finetune"))
    assert figures["training_rows"] == sorted(figures["training_rows"])
    assert len(figures["mean_gain"]) == 3
    assert svg.startswith("<svg")


def test_error_for_an_unknown_analysis_lists_the_analyses():
    command = [sys.executable, "-m", "training.analyse", "gian", "--config", "conf/planted.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "choose one of helpers, rates, gradients, gain" in done.stderr


def test_command_writes_a_plot_and_prints_a_summary(built, tmp_path):
    settings = [built.copy(tmp_path), "framework.name=joint_finetune", "training.epochs=1"]
    command = [sys.executable, "-m", "training.analyse", "gain", "--config", built.config_path, *settings]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert Path(summary["plot"]).read_text().startswith("<svg")
