"""The default rates are what the published search found."""

import json
from pathlib import Path
from statistics import mean

import pytest

from training.compare.plan import load_plan
from training.config import FrameworkConfig
from training.config.frameworks import SHARED, framework_pair

ROOT = Path(__file__).parents[3]
DATA = ("ml_latest_small", "planted", "planted_0", "ml_1m_genre")


def validation_aucs():
    """{method: {candidate: its AUC on each data set}}, where it could be trained on all."""
    searches = json.loads((ROOT / "docs/results/table_x/search.json").read_text())
    found = {}
    for name, search in searches.items():
        data, _, method = name.split("-")
        for candidate, auc in search["tried"]:
            if data in DATA and isinstance(auc, float):
                found.setdefault(method, {}).setdefault(" ".join(candidate), []).append(auc)
    return {
        method: {candidate: aucs for candidate, aucs in tried.items() if len(aucs) == len(DATA)}
        for method, tried in found.items()
    }


@pytest.mark.parametrize("shared", [name for name in SHARED if name != "none"])
def test_a_shared_framework_has_the_rates_of_the_best_mean_on_validation_rows(shared):
    tried = validation_aucs()[shared]
    assert len(tried) == len(load_plan(str(ROOT / "conf/compare/table_x.yaml")).search.shared["default"])
    best = max(tried, key=lambda candidate: mean(tried[candidate]))
    rates = {"framework.inner_lr": SHARED[shared].inner_lr, "framework.outer_lr": SHARED[shared].outer_lr}
    for setting in best.split():
        key, value = setting.split("=")
        assert rates[key] == float(value)


def test_theta_i_has_the_rate_of_the_best_mean_on_validation_rows():
    means = {}
    for method, tried in validation_aucs().items():
        if framework_pair(method)[1] != "none" and method != "separate":
            for candidate, aucs in tried.items():
                means.setdefault(candidate, []).append(mean(aucs))
    best = max(means, key=lambda candidate: mean(means[candidate]))
    assert best == f"framework.dr_inner_lr={FrameworkConfig.dr_inner_lr}"
