"""Batch scoring: rankings equal those of the trainer's forward pass; unknown users and items are served and counted."""

import numpy as np
import pytest
import torch

from pipelines.dr_longtail import dr_longtail
from pipelines.score import score
from pipelines.tasks.model_key import ModelKey, open_theta
from training.artifacts.domain_parameters import from_row
from training.data.columns import Columns
from training.data.delta_files import read_columns
from training.data.snapshot import take_snapshot
from training.errors import UserError
from training.parameters.forward import domain_logits, predict, predict_adapted
from training.serving.ranking import best_of_each, pairs
from training.train import train


@pytest.fixture(scope="module")
def scored(spark, built, keep_rounds, tmp_path_factory):
    """The config of a model with offsets of some domains."""
    config = built.config(built.copy(tmp_path_factory.mktemp("score")), "framework.name=joint_dr", "score.top_k=3")
    train(config)
    keep_rounds(config)
    dr_longtail(spark, config)
    return config


def keys_of(config, name):
    return dict(zip(*read_columns(config.table(name), ["key", "id"]).values(), strict=True))


def domains_of(config):
    return dict(zip(*read_columns(config.table("domains"), ["domain_key", "domain_id"]).values(), strict=True))


def trainers_scores(spark, config, rows):
    """The scores of (domain, user, item) keys by the functions of evaluation, and the domains that have offsets."""
    key = ModelKey.find(config, take_snapshot(config).version)
    model, theta = open_theta(key)
    ids = [domains_of(config), keys_of(config, "users"), keys_of(config, "items")]
    domain, user, item = (np.array([ids[k][row[k]] for row in rows]) for k in range(3))
    columns: Columns = {"domain_id": domain, "user_id": user, "item_id": item, "label": np.zeros(len(rows), np.float32)}
    stored = (
        spark.read.format("delta")
        .load(config.table("domain_parameters"))
        .where(f"model_version = '{key.model_version}'")
    )
    specific = {row["domain_id"]: from_row(row.asDict(recursive=True), theta, "float32") for row in stored.collect()}
    specific = {domain: value for domain, value in specific.items() if value is not None}
    logits = predict_adapted(model, theta, columns, specific, predict(model, theta, columns))
    return 1 / (1 + np.exp(-logits.astype(float))), {domain_key for domain_key, d in ids[0].items() if d in specific}


def test_every_user_gets_the_best_items_in_each_of_their_domains(spark, scored):
    summary = score(spark, scored)
    rows = spark.read.format("delta").load(scored.table("scores")).collect()
    samples = (
        spark.read.format("delta").load(scored.table("samples")).select("domain_id", "user_id", "item_id").collect()
    )
    names = [
        {number: name for name, number in ids.items()}
        for ids in (domains_of(scored), keys_of(scored, "users"), keys_of(scored, "items"))
    ]
    met = {(names[0][d], names[1][u]) for d, u, _ in samples}
    pools = {}
    for domain, _, item in samples:
        pools.setdefault(names[0][domain], set()).add(names[2][item])
    asked = [(domain, user, item) for domain, user in sorted(met) for item in sorted(pools[domain])]
    probabilities, specific = trainers_scores(spark, scored, asked)
    expected, place = {}, 0
    for domain, user in sorted(met):
        count = len(pools[domain])
        order = np.argsort(-probabilities[place : place + count], kind="stable")[:3]
        expected[domain, user] = [(asked[place + k][2], probabilities[place + k]) for k in order]
        place += count
    found = {}
    for row in sorted(rows, key=lambda row: row["rank"]):
        found.setdefault((row["domain_key"], row["user_key"]), []).append((row["item_key"], row["score"]))
        assert row["specific"] == (row["domain_key"] in specific)
        assert row["known_user"]
        assert row["known_item"]
    assert found.keys() == expected.keys()
    for request, best in expected.items():
        assert [value for _, value in found[request]] == pytest.approx([value for _, value in best], abs=1e-5)
        assert [item for item, _ in found[request]] == [item for item, _ in best]
    assert 0 < len(specific) < 12
    assert summary["requests"] == len(met)
    assert summary["rows"] == len(rows) == sum(len(best) for best in expected.values())
    assert (summary["domains"], summary["domains_shared"]) == (12, 12 - len(specific))
    assert [summary[name] for name in ("requests_rejected", "users_unknown", "items_unknown")] == [0, 0, 0]
    assert {row["model_version"] for row in rows} == {summary["model_version"]}


@pytest.fixture
def requested(spark, scored, built, tmp_path):
    """A function that scores requests and returns the summary and the rows."""

    def run(rows, schema, *settings):
        path = str(tmp_path / "requests")
        spark.createDataFrame(rows, schema).write.format("delta").save(path)
        config = built.config(f"root={scored.root}", "framework.name=joint_dr", f"score.requests={path}", *settings)
        summary = score(spark, config)
        return summary, spark.read.format("delta").load(config.table("scores")).orderBy("domain_key", "rank").collect()

    return run


def test_listed_items_are_ranked_and_unknown_keys_counted(spark, scored, requested):
    items = sorted(keys_of(scored, "items"))[:4]
    rows = [("domain 0", "1", item) for item in [*items, "new item"]]
    rows += [("domain 7", "new user", items[0]), ("domain 99", "1", items[0]), (None, "1", items[0]), rows[0]]
    summary, found = requested(rows, "domain STRING, user STRING, item STRING", "score.top_k=9")
    assert [summary[name] for name in ("requests", "requests_rejected", "users_unknown", "items_unknown")] == [
        2,
        2,
        1,
        1,
    ]
    assert len(found) == summary["rows"] == 6
    known = [row for row in found if row["known_user"] and row["known_item"]]
    probabilities, _ = trainers_scores(spark, scored, [(r["domain_key"], r["user_key"], r["item_key"]) for r in known])
    assert [row["score"] for row in known] == pytest.approx(list(probabilities), abs=1e-5)
    assert {row["item_key"] for row in found if not row["known_item"]} == {"new item"}
    assert {row["user_key"] for row in found if not row["known_user"]} == {"new user"}
    assert [row["rank"] for row in found if row["domain_key"] == "domain 0"] == [1, 2, 3, 4, 5]


def test_an_unknown_id_looks_up_zeros(scored):
    model, theta = open_theta(ModelKey.find(scored, take_snapshot(scored).version))
    features = {"domain_id": torch.tensor([3, 3]), "user_id": torch.tensor([-1, 5]), "item_id": torch.tensor([4, 4])}
    found = domain_logits(model, theta, None, features)
    with torch.no_grad():
        table = theta.tables["embeddings.user_id.weight"]
        kept, table[5] = table[5].clone(), 0
        expected = domain_logits(model, theta, None, {**features, "user_id": torch.tensor([5, 5])})
        table[5] = kept
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-7)
    assert found[1] != expected[1]


@pytest.mark.parametrize(
    ("rows", "schema", "message"),
    [
        ([("domain 0", 1)], "domain STRING, reader INT", r'no column "user": it has domain, reader'),
        ([], "domain STRING, user STRING", "has no rows: give score.requests at least one"),
    ],
)
def test_requests_that_cannot_be_read_are_a_mistake_in_one_line(requested, rows, schema, message):
    with pytest.raises(UserError, match=message):
        requested(rows, schema)


def test_error_names_a_missing_table_of_requests(spark, scored, built, tmp_path):
    config = built.config(f"root={scored.root}", "framework.name=joint_dr", f"score.requests={tmp_path}/none")
    with pytest.raises(UserError, match="none does not exist: set score.requests"):
        score(spark, config)


def test_batches_of_pairs_hold_whole_requests(monkeypatch):
    monkeypatch.setattr("training.serving.ranking.PREDICT_ROWS", 4)
    for lengths, requests in ((np.array([2, 1, 5, 2]), 4), (np.array([3]), 4)):
        whole = np.repeat(lengths, requests) if len(lengths) == 1 else lengths
        parts = list(pairs(lengths, requests))
        assert [len(request) for request, _ in parts] == ([3, 5, 2] if len(lengths) > 1 else [3, 3, 3, 3])
        request, item = (np.concatenate(part) for part in zip(*parts, strict=True))
        assert request.tolist() == np.repeat(np.arange(requests), whole).tolist()
        first = np.cumsum(whole) - whole if len(lengths) > 1 else np.zeros(requests, int)
        assert item.tolist() == [first[r] + k for r in range(requests) for k in range(whole[r])]


def test_first_of_equal_logits_ranks_higher():
    place, row = best_of_each(np.array([0, 0, 0, 1]), np.array([0.3, 0.7, 0.3, 0.2]), 2)
    assert (place.tolist(), row.tolist()) == ([0, 1, 0], [1, 0, 3])
