"""A domain that comes later is served, and no other domain's scores change by a bit."""

import numpy as np
import pytest
import yaml

from pipelines import add_domain as job
from pipelines import tables
from pipelines.add_domain import add_domain
from pipelines.build_domains import build
from pipelines.dr_longtail import dr_longtail
from pipelines.evaluate import evaluate
from pipelines.score import score
from tests.settings import FRAMEWORK
from training.config import load_config
from training.errors import UserError
from training.train import train

PAIR = ("domain_key", "user_key", "item_key")


def write_log(folder, name, rows):
    lines = [",".join(map(str, row)) for row in rows]
    (folder / name).write_text("\n".join(["domain,user,item,label", *lines, ""]))


def rows_of(domain, count, users=12, items=9):
    draws = np.random.default_rng(count).integers([users, items, 2], size=(count, 3))
    return [(domain, f"u{user}", f"{domain} {item}", label) for user, item, label in draws]


@pytest.fixture(params=["mlp", "shared_bottom"])
def served(request, spark, tmp_path):
    """The config of a model of three domains, one of them a head; and its log."""
    log = tmp_path / "log"
    log.mkdir()
    write_log(log, "1.csv", [*rows_of("large", 90), *rows_of("middle", 30), *rows_of("small", 20)])
    file = tmp_path / "config.yaml"
    settings = {
        "root": str(tmp_path / "root"),
        "data": {"source": "csv", "path": str(log), "columns": {"label": "label"}, "head_rows": 60},
        "model": {"name": request.param, "embedding_dim": 4, "hidden": [8], "tower": [4]},
        "framework": {**FRAMEWORK, "name": "joint_dr", "stop_group": 1},
        "training": {"batch_size": 16, "epochs": 2},
        "score": {"top_k": 50},
    }
    file.write_text(yaml.safe_dump(settings))
    config = load_config(str(file))
    build(spark, config)
    train(config)
    return config, log


def scores(spark, config):
    score(spark, config)
    found = tables.read(spark, config.table("scores")).collect()
    return {tuple(row[name] for name in PAIR): (row["score"], row["specific"]) for row in found}


def test_new_domain_is_learned_and_the_scores_of_the_others_stay_bit_by_bit(spark, served, keep_rounds):
    config, log = served
    keep_rounds(config)
    dr_longtail(spark, config)
    before = scores(spark, config)
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
    again = add_domain(spark, config)
    assert (again["rows_kept"], again["domains_learned"]) == (0, 0)
    assert again["model_version"] == summary["model_version"]
    assert scores(spark, config) == after


@pytest.mark.parametrize("served", ["mlp"], indirect=True)
def test_job_that_is_cut_off_again_and_again_goes_on(spark, served, keep_rounds, monkeypatch):
    config, log = served
    keep_rounds(config)
    dr_longtail(spark, config)
    before = scores(spark, config)
    write_log(log, "2.csv", rows_of("new", 25))

    def fail(*_):
        raise OSError("no space left")

    for step in ("grow_theta", "_take_over", "dr_longtail"):
        with monkeypatch.context() as patch:
            patch.setattr(job, step, fail)
            with pytest.raises(OSError, match="no space left"):
                add_domain(spark, config)
    summary = add_domain(spark, config)
    assert (summary["domains_taken_over"], summary["domains_learned"]) == (3, 1)
    after = scores(spark, config)
    assert {pair: after[pair] for pair in before} == before


@pytest.mark.parametrize("served", ["mlp"], indirect=True)
def test_without_a_model_nothing_is_added(spark, served):
    config, log = served
    other = load_config(str(log.parent / "config.yaml"), ["seed=7"])
    write_log(log, "2.csv", rows_of("new", 25))
    version = tables.version(spark, config.table("samples"))
    with pytest.raises(UserError, match=r"model .* does not exist: run training/train.py"):
        add_domain(spark, other)
    assert tables.version(spark, config.table("samples")) == version
