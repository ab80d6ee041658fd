"""What is served: the model that was promoted, with its own tables, until a better one is, or an earlier one again."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import yaml

from pipelines import score as job
from pipelines.build_domains import build
from pipelines.dr_longtail import dr_longtail
from pipelines.engine import tables
from pipelines.evaluate import evaluate
from pipelines.promote import promote
from pipelines.score import score
from pipelines.serving import promotions
from tests.support.settings import FRAMEWORK
from training.config import PromoteConfig, load_config
from training.data.snapshot import take_snapshot
from training.errors import UserError
from training.train import train

LARGE, MIDDLE, SMALL, NEW = (  # keys are stored and shown as they are written
    '\'; DROP TABLE samples; -- `tick` "quote"',
    "../../up/50%/b%2Fc d",
    '=HYPERLINK("x") 🙂 <script>${oc.env:HOME}',
    "x" * 10_000,
)


def write_log(path, domains):
    """A log in which all like the first five items of a domain, and not the others."""
    with path.open("w", newline="") as file:
        log = csv.writer(file)
        log.writerow(["domain", "user", "item", "label"])
        for domain, count in domains.items():
            for user, item in np.random.default_rng(count).integers([12, 10], size=(count, 2)):
                log.writerow([domain, f"u{user}", f"{domain} {item}", int(item < 5)])


@pytest.fixture(scope="module")
def life(spark, keep_rounds, tmp_path_factory):
    """Two days of a log: (config of the first model, config of the second, scores after each step, summaries)."""
    folder = tmp_path_factory.mktemp("promote")
    log, file = folder / "log", folder / "config.yaml"
    log.mkdir()
    write_log(log / "1.csv", {LARGE: 300, MIDDLE: 120, SMALL: 60})
    settings = {
        "root": str(folder / "root"),
        "track": False,
        "data": {"source": "csv", "path": str(log), "columns": {"label": "label"}, "incremental": True},
        "model": {"embedding_dim": 4, "hidden": [8], "dropout": 0.0, "embedding_scale": 0.3},
        "framework": {**FRAMEWORK, "name": "joint_dr", "stop_group": 1},
        "training": {"batch_size": 16, "epochs": 12},
        "score": {"top_k": 50},
    }
    file.write_text(yaml.safe_dump(settings))
    first = load_config(str(file))
    second = load_config(str(file), ["framework.name=dn"])
    scores, summaries = {}, {}
    build(spark, first)
    train(first)
    keep_rounds(first)
    dr_longtail(spark, first)
    scores["before"] = scores_of(spark, first)
    summaries["first"] = promote(spark, first)
    write_log(log / "2.csv", {NEW: 40, SMALL: 30})
    build(spark, second)
    train(second)
    scores["first"] = scores_of(spark, second)
    summaries["second"] = promote(spark, replace(second, promote=PromoteConfig(margin=1.0)))
    scores["second"] = scores_of(spark, first)
    return first, second, scores, summaries


def scores_of(spark, config):
    """The score by domain, user and item keys, exactly."""
    score(spark, config)
    found = tables.read(spark, config.table("scores")).collect()
    return {(row["domain_key"], row["user_key"], row["item_key"]): row["score"] for row in found}


def asked(config, **promote):
    return replace(config, promote=PromoteConfig(**promote))


def test_a_promoted_model_is_served_from_its_own_tables_bit_by_bit_while_they_grow(life):
    _, _, scores, summaries = life
    assert summaries["first"]["promoted"]
    assert summaries["first"]["model_version_before"] is None
    assert scores["first"] == scores["before"]
    assert {domain for domain, _, _ in scores["second"]} == {LARGE, MIDDLE, SMALL, NEW}


def test_two_models_are_compared_on_the_rows_that_both_know(spark, life):
    _, second, _, summaries = life
    compared = summaries["second"]
    evaluate(spark, second)
    by_domain = tables.read(spark, second.table("metrics_by_domain"))
    expected = by_domain.where((by_domain.model == "dn") & (by_domain.domain_key != NEW)).agg({"auc": "avg"}).first()[0]
    assert compared["mean_domain_auc"] == pytest.approx(expected, abs=1e-9)
    assert compared["mean_domain_auc_before"] > 0.6


def test_a_model_that_is_worse_is_not_promoted_and_what_is_served_stays(spark, life, capsys):
    second = life[1]
    worse = replace(second, seed=7, training=replace(second.training, epochs=1))
    worse = replace(worse, framework=replace(worse.framework, inner_lr=1e-9))
    train(worse)
    summary = promote(spark, worse)
    assert not summary["promoted"]
    assert summary["mean_domain_auc"] < summary["mean_domain_auc_before"] - 0.002
    assert f"not promoted: mean-domain AUC {summary['mean_domain_auc']:.4f}" in capsys.readouterr().err
    [served] = promotions.find_served(spark, worse)
    assert served.version == summary["model_version_before"] == life[3]["second"]["model_version"]


def test_everything_and_one_domain_go_back_and_the_scores_with_them(spark, life):
    first, _, scores, summaries = life
    old, new = (summaries[name]["model_version"] for name in ("first", "second"))
    promote(spark, asked(first, back_to=old))
    promote(spark, asked(first, back_to=new, domain=SMALL))
    mixed = scores_of(spark, first)
    of_small = {key: value for key, value in scores["second"].items() if key[0] == SMALL}
    others = {key: value for key, value in scores["before"].items() if key[0] != SMALL}
    # users are asked for in the domains where the tables of the model for all domains have them
    assert mixed.items() <= (of_small | others).items()
    assert mixed.items() >= others.items()
    assert {key[0] for key in mixed} == {LARGE, MIDDLE, SMALL}


def test_a_promotion_while_scores_are_made_does_not_mix_two_models(spark, life, monkeypatch):
    first, _, scores, summaries = life
    old, new = (summaries[name]["model_version"] for name in ("first", "second"))
    promote(spark, asked(first, back_to=old))
    read_requests = job.read_requests

    def promote_in_between(*arguments):
        promote(spark, asked(first, back_to=new))
        return read_requests(*arguments)

    monkeypatch.setattr(job, "read_requests", promote_in_between)
    assert scores_of(spark, first) == scores["before"]
    versions = tables.read(spark, first.table("scores")).select("model_version").distinct().collect()
    assert [row["model_version"] for row in versions] == [old]
    [served] = promotions.find_served(spark, first)
    assert served.version == new


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"back_to": "mlp-1"}, "model mlp-1 was not promoted: promote.back_to is one of joint-mlp-"),
        ({"domain": "smal"}, 'promote.domain "smal" is not in table'),
    ],
)
def test_what_cannot_be_promoted_is_named(spark, life, settings, message):
    with pytest.raises(UserError, match=message):
        promote(spark, asked(life[1], **settings))


def test_a_model_of_older_tables_is_refused_with_both_versions(spark, life):
    first = life[0]
    newest = take_snapshot(first).version
    own = replace(first, score=replace(first.score, promoted=False))
    with pytest.raises(UserError, match=rf"samples are at version {newest}, and the newest model .* is of version"):
        score(spark, own)


def test_decisions_hold_until_one_for_all_domains():
    decisions = [(None, True, "a"), ("x", True, "a"), (None, True, "b"), (None, False, "c"), ("y", True, "a")]
    rows = [dict(zip(("domain_key", "promoted", "model"), row, strict=True)) for row in decisions]
    assert [(row["domain_key"], row["model"]) for row in promotions.current(rows)] == [(None, "b"), ("y", "a")]
