"""Life with a log that grows: new domains are served, days are learned, and what need not change does not."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from pipelines import add_domain as job
from pipelines.add_domain import add_domain
from pipelines.build_domains import build
from pipelines.dr_longtail import dr_longtail
from pipelines.engine import tables
from pipelines.evaluate import evaluate
from pipelines.score import score
from tests.support.settings import FRAMEWORK
from training.artifacts.model_names import model_path, shared_version
from training.artifacts.model_store import load_theta
from training.config import load_config
from training.data.snapshot import take_snapshot
from training.errors import UserError
from training.list_models import list_models
from training.train import train

PAIR = ("domain_key", "user_key", "item_key")


def write_log(folder, name, rows):
    lines = [",".join(map(str, row)) for row in rows]
    (folder / name).write_text("\n".join(["domain,user,item,label", *lines, ""]))


def rows_of(domain, count, users=12, items=9):
    draws = np.random.default_rng(count).integers([users, items, 2], size=(count, 3))
    return [(domain, f"u{user}", f"{domain} {item}", label) for user, item, label in draws]


def config_of(folder, model="mlp"):
    """Of a log and its tables in `folder`, where it lies as config.yaml."""
    file = folder / "config.yaml"
    settings = {
        "root": str(folder / "root"),
        "track": False,
        "data": {"source": "csv", "path": str(folder / "log"), "columns": {"label": "label"}, "head_rows": 60},
        "model": {"name": model, "embedding_dim": 4, "hidden": [8], "tower": [4]},
        "framework": {**FRAMEWORK, "name": "joint_dr", "stop_group": 1},
        "training": {"batch_size": 16, "epochs": 2},
        "score": {"top_k": 50},
    }
    file.write_text(yaml.safe_dump(settings))
    return load_config(str(file))


@pytest.fixture(scope="module")
def built(spark, tmp_path_factory):
    """A folder with a log of three domains, one of them a head, and its tables."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "log").mkdir()
    write_log(folder / "log", "1.csv", [*rows_of("large", 90), *rows_of("middle", 30), *rows_of("small", 20)])
    build(spark, config_of(folder))
    return folder


@pytest.fixture
def served(built, tmp_path):
    """The config of a copy of these tables, and its log."""
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    return config_of(tmp_path), tmp_path / "log"


@pytest.fixture(scope="module")
def adapted(spark, built, keep_rounds, tmp_path_factory):
    """(a folder with these tables and a model of them, whose backbone has towers of the domains; its scores)."""
    folder = tmp_path_factory.mktemp("adapted")
    shutil.copytree(built, folder, dirs_exist_ok=True)
    config = config_of(folder, "shared_bottom")
    train(config)
    keep_rounds(config)
    dr_longtail(spark, config)
    return folder, scores(spark, config)


@pytest.fixture
def modelled(adapted, tmp_path):
    """The config of a copy of these, its log, and its scores."""
    shutil.copytree(adapted[0], tmp_path, dirs_exist_ok=True)
    return config_of(tmp_path, "shared_bottom"), tmp_path / "log", adapted[1]


def scores(spark, config):
    score(spark, config)
    found = tables.read(spark, config.table("scores")).collect()
    return {tuple(row[name] for name in PAIR): (row["score"], row["specific"]) for row in found}


def test_new_domain_is_learned_and_the_scores_of_the_others_stay_bit_by_bit(spark, modelled):
    config, log, before = modelled
    assert {specific for _, specific in before.values()} == {True, False}
    write_log(log, "2.csv", [*rows_of("new", 25, users=15), ("middle", "newcomer", "middle 1", 1)])
    summary = add_domain(spark, config)
    assert (summary["domains_taken_over"], summary["domains_learned"], summary["domains"]) == (3, 1, 4)
    after = scores(spark, config)
    untouched = [pair for pair in before if pair[0] != "middle"]
    assert [after[pair] for pair in untouched] == [before[pair] for pair in untouched]
    assert {pair: after[pair][0] for pair in before} == pytest.approx(
        {pair: before[pair][0] for pair in before}, abs=1e-6
    )
    assert {pair[0] for pair in after.keys() - before.keys()} == {"new", "middle"}
    assert evaluate(spark, config)["models"]["joint_dr"]["domains_scored"] > 0


def test_job_that_is_cut_off_again_and_again_goes_on(spark, modelled, monkeypatch):
    config, log, before = modelled
    write_log(log, "2.csv", rows_of("new", 25))

    def fail(*_):
        raise OSError("no space left")

    for step in ("extend_theta", "_take_over", "dr_longtail"):
        with monkeypatch.context() as patch:
            patch.setattr(job, step, fail)
            with pytest.raises(OSError, match="no space left"):
                add_domain(spark, config)
    summary = add_domain(spark, config)
    assert (summary["rows_kept"], summary["domains_taken_over"], summary["domains_learned"]) == (0, 3, 1)
    after = scores(spark, config)
    assert {pair: after[pair] for pair in before} == before


def test_without_a_model_nothing_is_added(spark, served):
    config, log = served
    other = load_config(str(log.parent / "config.yaml"), ["seed=7"])
    write_log(log, "2.csv", rows_of("new", 25))
    version = tables.version(config.table("samples"))
    with pytest.raises(UserError, match=r"model .* does not exist: run training/train.py"):
        add_domain(spark, other)
    assert tables.version(config.table("samples")) == version


def stored_theta(config):
    return load_theta(model_path(config, shared_version(config, take_snapshot(config).version)), config)[1].trained()


def test_warm_start_goes_on_from_the_last_model_and_only_changed_domains_are_learned_again(spark, served, keep_rounds):
    """At a rate of next to nothing, so that what training starts from is what it ends with."""
    config, log = served
    settings = ["framework.refresh_share=0.2", "framework.inner_lr=1e-12"]
    first_day, daily = (
        load_config(str(log.parent / "config.yaml"), [*settings, f"training.warm_start={warm}"])
        for warm in ("false", "true")
    )
    train(first_day)
    keep_rounds(first_day, [1])
    dr_longtail(spark, first_day)
    first = stored_theta(first_day)
    read = tables.read(spark, config.table("domain_parameters"))
    old = {row["domain_id"]: row for row in read.collect()}
    write_log(log, "2.csv", [*rows_of("small", 33), ("new", "newcomer", "new 1", 1), ("new", "newcomer", "new 2", 0)])
    build(spark, replace(daily, data=replace(daily.data, incremental=True)))
    train(daily)
    keep_rounds(daily, [1])
    second = stored_theta(daily)
    for name, value in first.items():
        assert torch.allclose(second[name][: len(value)], value, rtol=0, atol=1e-6), name
    grown = [name for name, value in first.items() if len(second[name]) > len(value)]
    assert "embeddings.user_id.weight" in grown
    summary = dr_longtail(spark, daily)
    names = {row["domain_id"]: row["domain_key"] for row in tables.read(spark, config.table("domains")).collect()}
    read = tables.read(spark, config.table("domain_parameters"))
    new = {row["domain_id"]: row for row in read.collect() if row["model_version"] != old[0]["model_version"]}
    assert sorted(names[domain] for domain in new) == ["large", "middle", "new", "small"]
    models = list_models(daily)
    assert models["samples"].is_monotonic_increasing
    assert models["from"].tolist()[1:] == models.index.tolist()[:1]
    assert (summary["domains_kept"], summary["domains"]) == (1, 2)
    same = {names[domain]: row["dense"] == new[domain]["dense"] for domain, row in old.items() if row["rounds"]}
    assert (same["middle"], same["small"]) == (True, False)
