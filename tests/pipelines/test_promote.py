"""Promotion: a model is served with its own tables until a better one, or an earlier one, is promoted."""

import csv
from dataclasses import dataclass, replace

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
from training.config import Config, PromoteConfig, load_config
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
    """Writes a log in which every user likes the first five items of a domain and no others."""
    with path.open("w", newline="") as file:
        log = csv.writer(file)
        log.writerow(["domain", "user", "item", "label"])
        for domain, count in domains.items():
            for user, item in np.random.default_rng(count).integers([12, 10], size=(count, 2)):
                log.writerow([domain, f"u{user}", f"{domain} {item}", int(item < 5)])


@dataclass(frozen=True)
class TwoDays:
    """Two days of a log, with a model of each.

    Attributes:
        scores: of the first model before and after its promotion ("before", "first"), and of the second ("second").
        summaries: of the promotions of both models ("first", "second").
    """

    first: Config
    second: Config
    scores: dict
    summaries: dict


@pytest.fixture(scope="module")
def two_days(spark, keep_rounds, tmp_path_factory):
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
    return TwoDays(first, second, scores, summaries)


def scores_of(spark, config):
    """Scores, and returns the exact score of each (domain, user, item)."""
    score(spark, config)
    rows = tables.read(spark, config.table("scores")).collect()
    return {(row["domain_key"], row["user_key"], row["item_key"]): row["score"] for row in rows}


def promoting(config, **promote):
    return replace(config, promote=PromoteConfig(**promote))


def test_promoted_model_keeps_its_tables_and_scores_while_tables_grow(two_days):
    scores, summaries = two_days.scores, two_days.summaries
    assert summaries["first"]["promoted"]
    assert summaries["first"]["model_version_before"] is None
    assert scores["first"] == scores["before"]
    assert {domain for domain, _, _ in scores["second"]} == {LARGE, MIDDLE, SMALL, NEW}


def test_models_are_compared_in_the_domains_that_both_know(spark, two_days):
    compared = two_days.summaries["second"]
    evaluate(spark, two_days.second)
    by_domain = tables.read(spark, two_days.second.table("metrics_by_domain"))
    expected = by_domain.where((by_domain.model == "dn") & (by_domain.domain_key != NEW)).agg({"auc": "avg"}).first()[0]
    assert compared["mean_domain_auc"] == pytest.approx(expected, abs=1e-9)
    assert compared["mean_domain_auc_before"] > 0.6


def test_worse_model_is_not_promoted(spark, two_days, capsys):
    second = two_days.second
    worse = replace(second, seed=7, training=replace(second.training, epochs=1))
    worse = replace(worse, framework=replace(worse.framework, inner_lr=1e-9))
    train(worse)
    summary = promote(spark, worse)
    assert not summary["promoted"]
    assert summary["mean_domain_auc"] < summary["mean_domain_auc_before"] - 0.002
    assert f"not promoted: mean-domain AUC {summary['mean_domain_auc']:.4f}" in capsys.readouterr().err
    [served] = promotions.find_served(spark, worse)
    assert served.version == summary["model_version_before"] == two_days.summaries["second"]["model_version"]


def test_earlier_models_are_promoted_again_for_all_or_one_domain(spark, two_days):
    first, scores, summaries = two_days.first, two_days.scores, two_days.summaries
    old, new = (summaries[name]["model_version"] for name in ("first", "second"))
    promote(spark, promoting(first, back_to=old))
    promote(spark, promoting(first, back_to=new, domain=SMALL))
    mixed = scores_of(spark, first)
    of_small = {key: value for key, value in scores["second"].items() if key[0] == SMALL}
    others = {key: value for key, value in scores["before"].items() if key[0] != SMALL}
    # users are ranked in the domains where the model for all domains has samples of them
    assert mixed.items() <= (of_small | others).items()
    assert mixed.items() >= others.items()
    assert {key[0] for key in mixed} == {LARGE, MIDDLE, SMALL}


def test_promotion_while_scoring_does_not_mix_two_models(spark, two_days, monkeypatch):
    first, scores, summaries = two_days.first, two_days.scores, two_days.summaries
    old, new = (summaries[name]["model_version"] for name in ("first", "second"))
    promote(spark, promoting(first, back_to=old))
    read_requests = job.read_requests

    def promote_in_between(*arguments):
        promote(spark, promoting(first, back_to=new))
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
def test_error_names_what_cannot_be_promoted(spark, two_days, settings, message):
    with pytest.raises(UserError, match=message):
        promote(spark, promoting(two_days.second, **settings))


def test_error_for_a_model_of_older_tables_names_both_versions(spark, two_days):
    first = two_days.first
    newest = take_snapshot(first).version
    not_promoted = replace(first, score=replace(first.score, promoted=False))
    with pytest.raises(UserError, match=rf"samples are at version {newest}, and the newest model .* is of version"):
        score(spark, not_promoted)


def test_promotion_for_all_domains_ends_those_of_single_ones():
    decisions = [(None, True, "a"), ("x", True, "a"), (None, True, "b"), (None, False, "c"), ("y", True, "a")]
    rows = [dict(zip(("domain_key", "promoted", "model"), row, strict=True)) for row in decisions]
    assert [(row["domain_key"], row["model"]) for row in promotions.current(rows)] == [(None, "b"), ("y", "a")]
