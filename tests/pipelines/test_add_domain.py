"""Models of a growing log: new domains and new days are learned, and everything else stays as it was."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

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
from training.config import Config, load_config
from training.data.snapshot import take_snapshot
from training.errors import UserError
from training.list_models import list_models
from training.train import train

KEYS = ("domain_key", "user_key", "item_key")


@dataclass(frozen=True)
class Log:
    """A log whose tables are built, the config of its model, and the model's scores once it is trained."""

    config: Config
    folder: Path
    scores: dict

    def add(self, rows):
        """Adds a file of rows to the log."""
        write_log(self.folder, "2.csv", rows)


def write_log(folder, name, rows):
    lines = [",".join(map(str, row)) for row in rows]
    (folder / name).write_text("\n".join(["domain,user,item,label", *lines, ""]))


def rows_of(domain, count, users=12, items=9):
    draws = np.random.default_rng(count).integers([users, items, 2], size=(count, 3))
    return [(domain, f"u{user}", f"{domain} {item}", label) for user, item, label in draws]


def config_of(folder, model="mlp"):
    """Writes config.yaml to `folder`, for a log and tables there, and loads it."""
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
    """A folder with a log of three domains, one of them a head domain, and its tables."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "log").mkdir()
    write_log(folder / "log", "1.csv", [*rows_of("large", 90), *rows_of("middle", 30), *rows_of("small", 20)])
    build(spark, config_of(folder))
    return folder


@pytest.fixture
def untrained(built, tmp_path):
    """A copy of the built log, without a model."""
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    return Log(config_of(tmp_path), tmp_path / "log", {})


@pytest.fixture(scope="module")
def adapted(spark, built, keep_rounds, tmp_path_factory):
    """A copy of the built log with a model, whose backbone has a tower for each domain."""
    folder = tmp_path_factory.mktemp("adapted")
    shutil.copytree(built, folder, dirs_exist_ok=True)
    config = config_of(folder, "shared_bottom")
    train(config)
    keep_rounds(config)
    dr_longtail(spark, config)
    return Log(config, folder / "log", scores(spark, config))


@pytest.fixture
def trained(adapted, tmp_path):
    """A copy of `adapted`, to be changed by a test."""
    shutil.copytree(adapted.folder.parent, tmp_path, dirs_exist_ok=True)
    return Log(config_of(tmp_path, "shared_bottom"), tmp_path / "log", adapted.scores)


def scores(spark, config):
    """Scores, and returns (score, specific) by the keys of domain, user and item."""
    score(spark, config)
    rows = tables.read(spark, config.table("scores")).collect()
    return {tuple(row[name] for name in KEYS): (row["score"], row["specific"]) for row in rows}


def test_new_domain_is_learned_and_scores_of_the_others_stay(spark, trained):
    config, before = trained.config, trained.scores
    assert {specific for _, specific in before.values()} == {True, False}
    trained.add([*rows_of("new", 25, users=15), ("middle", "newcomer", "middle 1", 1)])
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


def test_interrupted_job_resumes_after_each_step(spark, trained, monkeypatch):
    config, before = trained.config, trained.scores
    trained.add(rows_of("new", 25))

    def fail(*_):
        raise OSError("no space left")

    for step in ("extend_theta", "_copy_existing", "adapt_tail"):
        with monkeypatch.context() as patch:
            patch.setattr(job, step, fail)
            with pytest.raises(OSError, match="no space left"):
                add_domain(spark, config)
    summary = add_domain(spark, config)
    assert (summary["rows_kept"], summary["domains_taken_over"], summary["domains_learned"]) == (0, 3, 1)
    after = scores(spark, config)
    assert {pair: after[pair] for pair in before} == before


def test_nothing_is_added_without_a_model(spark, untrained):
    config = untrained.config
    other = load_config(str(untrained.folder.parent / "config.yaml"), ["seed=7"])
    untrained.add(rows_of("new", 25))
    version = tables.version(config.table("samples"))
    with pytest.raises(UserError, match=r"model .* does not exist: run training/train.py"):
        add_domain(spark, other)
    assert tables.version(config.table("samples")) == version


def stored_theta(config):
    return load_theta(model_path(config, shared_version(config, take_snapshot(config).version)), config)[1].trained()


def test_warm_start_adapts_only_changed_domains_again(spark, untrained, keep_rounds):
    """Trains at a tiny rate, so that the parameters stay where training starts."""
    config = untrained.config
    settings = ["framework.refresh_share=0.2", "framework.inner_lr=1e-12"]
    first_day, daily = (
        load_config(str(untrained.folder.parent / "config.yaml"), [*settings, f"training.warm_start={warm}"])
        for warm in ("false", "true")
    )
    train(first_day)
    keep_rounds(first_day, [1])
    dr_longtail(spark, first_day)
    first = stored_theta(first_day)
    read = tables.read(spark, config.table("domain_parameters"))
    old = {row["domain_id"]: row for row in read.collect()}
    untrained.add([*rows_of("small", 33), ("new", "newcomer", "new 1", 1), ("new", "newcomer", "new 2", 0)])
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
