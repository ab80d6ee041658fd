"""Comparisons: plans, summaries, reports, and a whole comparison that is interrupted and resumed."""

import json
import shlex
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from deltalake import DeltaTable

from pipelines.evaluate import evaluate
from training.compare import report, results, searches, summary
from training.compare.plan import Cell, CompareConfig, DataSet, candidates, load_plan, pairs, work_units
from training.compare.run import compare
from training.compare.study import Study
from training.config import load_config
from training.errors import UserError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def write_plan(tmp_path):
    def write(**values):
        path = tmp_path / "plan.yaml"
        plan = {"root": str(tmp_path / "root"), "data": {"small": {"config": "small.yaml"}}, "methods": ["joint"]}
        path.write_text(yaml.safe_dump({**plan, **values}))
        return str(path)

    return write


def test_each_method_is_paired_with_each_model_and_no_pair_is_repeated(write_plan):
    plan = load_plan(
        write_plan(models=["mlp", "deepfm"], methods=["joint", "mamdr"], further=["a.b:C+dn", "mlp+joint"])
    )
    assert pairs(plan) == [
        ("mlp", "joint", "none"),
        ("mlp", "dn", "dr"),
        ("deepfm", "joint", "none"),
        ("deepfm", "dn", "dr"),
        ("a.b:C", "dn", "none"),
    ]


def test_methods_with_one_shared_model_form_one_work_unit(write_plan):
    plan = load_plan(write_plan(methods=["dn", "joint", "mamdr", "dn_finetune"], seeds=[3, 4]))
    units = [(work.seed, work.shared, work.specific) for work in work_units(plan)]
    assert units == [
        (seed, *rest) for seed in (3, 4) for rest in (("dn", ("none", "dr", "finetune")), ("joint", ("none",)))
    ]


def test_placeholders_in_settings_are_filled(write_plan, tmp_path):
    source = {"config": "small.yaml", "settings": ["data.path={root}/log-{seed}"]}
    [work] = work_units(load_plan(write_plan(data={"small": source}, seeds=[7])))
    assert f"data.path={tmp_path}/root/small/seed-7/log-7" in work.settings
    assert f"root={tmp_path}/root/small/seed-7" in work.settings


def test_candidates_of_the_most_specific_name_apply(write_plan):
    search = {
        "shared": {"default": ["a=1", "a=2"], "dn": ["a=3 b=1", "a=4"]},
        "specific": {"default": ["c=1"], "finetune": ["c=2"], "separate": ["c=3"]},
    }
    plan = load_plan(write_plan(methods=["separate", "mamdr", "joint_finetune"], search=search))
    unit_of = {work.shared: work for work in work_units(plan)}
    assert candidates(plan, unit_of["dn"], "shared") == [["a=3", "b=1"], ["a=4"]]
    assert candidates(plan, unit_of["joint"], "shared") == [["a=1"], ["a=2"]]
    assert candidates(plan, unit_of["none"], "finetune") == [["c=3"]]
    assert candidates(plan, unit_of["joint"], "finetune") == [["c=2"]]
    assert candidates(plan, unit_of["dn"], "dr") == [["c=1"]]


def test_search_is_reused_if_its_settings_agree_wherever_it_ran(write_plan, tmp_path):
    def plan_with(**changes):
        search = {"shared": {"default": ["a=1", "a=2"]}, "specific": {"default": ["c=1", "c=2"]}}
        return load_plan(write_plan(**{"methods": ["mamdr"], "seeds": [3, 4], "search": search, **changes}))

    plan = plan_with()
    root = tmp_path / "root"
    (root / "search").mkdir(parents=True)
    first, second = work_units(plan)
    assert searches.chosen_settings(plan, root, first) == {}
    searches.save(plan, root, first, {"shared": {"chosen": ["a=2"], "tried": []}})
    assert searches.chosen_settings(plan, root, first) == {"shared": ["a=2"]}
    searches.save(plan, root, first, {"dr": {"chosen": ["c=2"], "tried": []}})
    assert searches.chosen_settings(plan, root, first) == searches.chosen_settings(plan, root, second)
    assert searches.chosen_settings(plan, root, second) == {"shared": ["a=2"], "dr": ["c=2"]}

    searches.export_searches(root, tmp_path)
    elsewhere = plan_with(root=str(tmp_path / "other"))
    (tmp_path / "other" / "search").mkdir(parents=True)
    searches.import_searches(tmp_path, tmp_path / "other")
    work = next(work_units(elsewhere))
    assert searches.chosen_settings(elsewhere, tmp_path / "other", work) == {"shared": ["a=2"], "dr": ["c=2"]}

    more = {"shared": {"default": ["a=1", "a=2"]}, "specific": {"default": ["c=1", "c=3"]}}
    for changes, expected in [
        ({"search": more}, {"shared": ["a=2"]}),
        ({"settings": ["b=1"]}, {}),
        ({"seeds": [4]}, {}),
    ]:
        plan = plan_with(**changes)
        assert searches.chosen_settings(plan, root, next(work_units(plan))) == expected


def test_data_set_can_override_the_seeds(write_plan):
    data = {"small": {"config": "small.yaml"}, "large": {"config": "large.yaml", "seeds": [7]}}
    plan = load_plan(write_plan(data=data, seeds=[3, 4]))
    assert [(work.data, work.seed) for work in work_units(plan)] == [("large", 7), ("small", 3), ("small", 4)]


def test_run_can_be_limited_to_some_data_sets(write_plan):
    path = write_plan(data={name: {"config": f"{name}.yaml"} for name in ("a", "b", "c")})
    assert list(load_plan(path, ["only=[c, a]"]).data) == ["a", "c"]
    with pytest.raises(UserError, match='"only" names d, which is not in data: a, b, c'):
        load_plan(path, ["only=[d]"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"methods": ["mamdar"]}, 'framework.name "mamdar" does not exist'),
        ({"further": ["mlp"]}, '"mlp" in further is no pair'),
        ({"methods": []}, '"methods" of .* is empty'),
        ({"seeds": []}, '"seeds" of .* is empty'),
        ({"data": {}}, '"data" of .* is empty'),
        ({"publish": True}, '"publish" needs a folder'),
        ({"parallel": 0}, '"parallel" must be at least 1'),
        ({"search": {"shared": {"default": ["a=1"], "dn": ["a=1", "a=2"]}}}, "as many candidates for each method"),
        ({"mehtods": ["dn"]}, 'did you mean "methods"'),
        ({"data": {"small": {"confg": "x"}}}, 'did you mean "data.small.config"'),
    ],
)
def test_error_names_the_mistake_in_a_plan(write_plan, values, message):
    with pytest.raises(UserError, match=message):
        load_plan(write_plan(**values))


def frame(*rows):
    columns = ["method", "seed", "domain_key", "rows_train", "rows", "auc", "logloss"]
    return pd.DataFrame(rows, columns=columns).assign(data="small", all_rows_auc=0.75)


TWO_METHODS = frame(
    ("a", 0, "x", 50, 10, 0.9, 0.2),
    ("a", 0, "y", 200, 30, 0.5, 0.6),
    ("a", 0, "one class", 20, 10, np.nan, 0.7),
    ("b", 0, "x", 50, 10, 0.7, 0.3),
    ("b", 0, "y", 200, 30, 0.5, 0.5),
    ("b", 0, "one class", 20, 10, np.nan, 0.8),
    ("a", 1, "x", 50, 10, 0.8, 0.2),
    ("a", 1, "y", 200, 30, 0.6, 0.6),
    ("b", 1, "x", 50, 10, 0.9, 0.3),
    ("b", 1, "y", 200, 30, 0.5, 0.5),
)


def test_overview_matches_figures_computed_by_hand():
    table = summary.overview(TWO_METHODS)
    assert list(table.index) == ["a", "b"]
    np.testing.assert_allclose(table["auc"], [0.7, 0.65])
    np.testing.assert_allclose(table["auc_std"], [0.0, np.std([0.6, 0.7], ddof=1)], atol=1e-12)
    np.testing.assert_allclose(table["weighted_auc"], [(0.6 + 0.65) / 2, (0.55 + 0.6) / 2])
    np.testing.assert_allclose(table["all_rows_auc"], 0.75)
    np.testing.assert_allclose(table["rank"], [((1 + 1.5) / 2 + (2 + 1) / 2) / 2, ((2 + 1.5) / 2 + (1 + 2) / 2) / 2])
    np.testing.assert_allclose(table["logloss"], [(27 / 50 + 20 / 40) / 2, (26 / 50 + 18 / 40) / 2])
    assert np.isnan(table["p"]["a"])


def test_significance_is_paired_by_domain():
    rng = np.random.default_rng(0)
    base = rng.uniform(0.5, 0.9, 40)
    rows = [
        (method, 0, f"d{index}", 10, 10, value + shift + noise, 0.5)
        for method, shift, scale in (("best", 0.02, 0.001), ("worse", 0.0, 0.001), ("alike", 0.02, 0.002))
        for index, (value, noise) in enumerate(zip(base, rng.normal(0, scale, 40), strict=True))
    ]
    p_values = summary.against_best(frame(*rows), "best")
    assert p_values["worse"] < 1e-6
    assert p_values["alike"] > 0.01


def test_domains_are_grouped_by_size_and_the_largest_come_first():
    by_size = summary.by_size(TWO_METHODS, ["a", "b"])
    assert list(by_size.columns) == ["under 100 rows (1 domains)", "100 to 999 rows (1 domains)"]
    np.testing.assert_allclose(by_size.to_numpy(), [[0.85, 0.55], [0.8, 0.5]])
    assert list(summary.largest_domains(TWO_METHODS, ["a", "b"]).columns) == ["y", "x"]


def test_report_is_self_contained_and_reproducible(tmp_path):
    rows = TWO_METHODS.replace({"domain_key": {"x": "Drama|War <b>"}})
    plan = CompareConfig(root=str(tmp_path / "table"), data={"small": DataSet("x")}, seeds=[0, 1])
    made = "python -m training.compare --config x.yaml", [("abc1234", date(2026, 11, 25)), (None, date(2026, 11, 26))]
    written = report.write(rows, tmp_path, plan, *made)
    pages = [(tmp_path / name).read_text() for name in ("report.html", "report.md")]
    assert written["mean_domain_auc"] == {"small": {"a": 0.7, "b": 0.65}}
    assert "<svg" in pages[0]
    assert "src=" not in pages[0]
    assert 'href="http' not in pages[0]
    assert "Drama|War &lt;b&gt;" in pages[0]
    assert "Drama\\|War <b>" in pages[1]
    assert "| a | 0.7000 ± 0.0000 |" in pages[1]
    assert all("commit and day: abc1234 of 2026-11-25, no repository of 2026-11-26" in page for page in pages)
    assert all("python -m training.compare --config x.yaml" in page for page in pages)
    report.write(rows, tmp_path, plan, *made)
    assert [(tmp_path / name).read_text() for name in ("report.html", "report.md")] == pages


def test_cells_without_a_newer_column_are_read_and_imported(tmp_path):
    domains = [{"domain_key": "x", "rows_train": 5, "rows": 3, "auc": 0.5, "logloss": 0.5}]
    cells = [Cell("small", "mlp+dn", seed, "") for seed in (0, 1)]
    old = results.SCHEMA.remove(results.SCHEMA.get_field_index("all_rows_auc"))
    made = {"seconds": 1.0, "domains": domains, "date": date(2026, 11, 25)}
    pq.write_table(pa.Table.from_pylist([{**vars(cells[0]), **made}], schema=old), tmp_path / results.CELLS)
    table = tmp_path / "table"
    results.import_cells(tmp_path, table)
    results.append(table, [{**vars(cells[1]), "seconds": 1.0, "domains": domains, "all_rows_auc": 0.75}])
    assert results.by_domain(table, cells).set_index("seed")["all_rows_auc"].fillna(0).to_dict() == {0: 0, 1: 0.75}


def test_cells_with_different_settings_are_distinct(tmp_path):
    domains = [{"domain_key": "x", "rows_train": 5, "rows": 3, "auc": None, "logloss": 0.5}]
    cells = [Cell("small", "mlp+dn", 0, settings) for settings in ("old", "new")]
    for cell in cells:
        results.append(tmp_path / "table", [{**vars(cell), "seconds": 1.0, "domains": domains}])
    assert results.finished_cells(tmp_path / "table") == set(cells)
    assert len(results.by_domain(tmp_path / "table", cells[1:])) == 1


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_scores_are_those_of_the_chosen_rounds(built, tmp_path, monkeypatch, rounds):
    monkeypatch.setattr(
        "training.compare.study.choose_rounds", lambda groups, auc: dict.fromkeys(groups.tolist(), rounds)
    )
    config = built.config(built.copy(tmp_path), "framework.name=joint_dr")
    study = Study(config)
    adaptation = study.adapt(config, "val")
    able = study.rows.snapshot.domains.trainable(1).domain_id
    assert adaptation.rounds == {domain: rounds if domain in able else 0 for domain in range(12)}
    assert study.mean_domain_auc(adaptation.logits, "val") == pytest.approx(adaptation.val_auc, abs=1e-12)
    assert np.array_equal(adaptation.logits, study.shared_logits("val")) == (rounds == 0)


METHODS = ["joint", "mamdr", "joint_finetune", "separate"]
COMMAND = "python -m training.compare"


def test_comparison_runs_resumes_and_agrees_with_evaluate(spark, built, tmp_path):
    plan = {
        "root": str(tmp_path / "root"),
        "data": {"small": {"config": built.config_path, "complete": "touch {root}/completed"}},
        "methods": METHODS,
        "search": {"shared": {"default": ["framework.inner_lr=0.01", "framework.inner_lr=0.02"]}},
    }
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(plan))

    first = run_command(path)
    assert first["cells"] == len(METHODS) + 2
    assert set(first["mean_domain_auc"]["small"]) == {*(f"mlp+{name}" for name in METHODS), "popularity", "linear"}
    root = tmp_path / "root/small/seed-0"
    assert (root / "completed").exists()
    table = DeltaTable(first["table"])
    version = table.version()
    assert compare(load_plan(str(path)), COMMAND) == first
    table.update_incremental()
    assert table.version() == version

    path.write_text(yaml.safe_dump({**plan, "methods": [*METHODS, "alternate"]}))
    published = [f"published={tmp_path}/kept", "publish=true"]
    second = compare(load_plan(str(path), published), COMMAND)
    assert second["cells"] == first["cells"] + 1
    table.update_incremental()
    assert table.version() == version + 1
    elsewhere = compare(load_plan(str(path), [f"root={tmp_path}/elsewhere", *published[:1]]), COMMAND)
    assert elsewhere["mean_domain_auc"] == second["mean_domain_auc"]
    assert not (tmp_path / "elsewhere" / "small").exists()
    assert (tmp_path / "kept" / "README.md").read_text().startswith(f"# root\n\nMade by `{COMMAND}`")

    searched = json.loads((tmp_path / "root/search/small-mlp-joint.json").read_text())
    settings = [f"root={root}", "seed=0", "framework.name=joint", *searched["chosen"]]
    evaluated = evaluate(spark, load_config(built.config_path, settings))["models"]["joint"]
    assert first["mean_domain_auc"]["small"]["mlp+joint"] == pytest.approx(evaluated["mean_domain_auc"], abs=1e-6)
    cells = pq.read_table(tmp_path / "kept" / "cells.parquet").to_pylist()
    [cell] = [cell for cell in cells if cell["method"] == "mlp+joint"]
    assert cell["all_rows_auc"] == pytest.approx(evaluated["auc"], abs=1e-6)


def run_command(path):
    command = [sys.executable, *shlex.split(COMMAND)[1:], "--config", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
