"""A log that grows: what is there keeps its place and its numbers, and what is new is added behind it."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.build_domains import build
from pipelines.engine import tables
from pipelines.samples.incremental.changed_samples import PLAN
from tests.support.two_days import day_one, day_two
from training.artifacts.model_names import shared_version
from training.artifacts.model_store import read_manifest
from training.artifacts.warm_start import newest_trained_version
from training.config import FeatureConfig, load_config
from training.data.snapshot import take_snapshot
from training.errors import UserError
from training.train import train

OF_OWNERS = {
    "city": {"kind": "category", "of": "user"},
    "age": {"kind": "dense", "of": "user"},
    "past": {"kind": "sequence", "of": "user", "length": 2},
    "genres": {"kind": "list", "of": "item", "length": 2},
}
OF_ROWS = {"device": {"kind": "category"}, "price": {"kind": "dense"}}
TABLES = ("samples", "domains", "users", "items", "rejects", "vocabularies", "features", "builds")
KEYS = ("domain_id", "user_id", "item_id")
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("domain", "user", "item")]
    + [("label", pa.int64()), ("time", pa.int64())]
    + [(name, pa.float64() if name == "price" else pa.string()) for name in (*OF_OWNERS, *OF_ROWS)]
)
OTHER_FEATURES = {  # of day two: a city, a genre and a device that are new; u1 moves, and u2 is a year older
    "new user": {"city": "new city", "age": "30", "past": "i1|new item", "device": "watch", "price": 9.0},
    "u1": {"city": "c0", "device": "web", "price": 1.0},
    "u2": {"age": "23"},
}


def with_features(row):
    """A row of the log, in which u0 has no city, and prices are 0 to 3."""
    domain, user, item, label, time = row
    if item == "new item":
        features = OTHER_FEATURES[user] | {"genres": "g1|new genre"}
    else:
        number = int(user[1:] or 0)
        features = {
            **{"city": f"c{number % 3}" if number else None, "age": str(20 + number), "past": f"i{number}|i9"},
            **{"genres": f"g{int(item[1:]) % 2}", "device": "phone" if time % 2 else "web", "price": float(time % 4)},
        }
    return {"domain": domain, "user": user or None, "item": item, "label": label, "time": time, **features}


@pytest.fixture(scope="module", params=["labelled", "positives only"])
def grown(request, spark, tmp_path_factory):
    """(config, by table the rows after day one, those after day two, summary of day two)."""
    folder = tmp_path_factory.mktemp("grown")
    labelled = request.param == "labelled"
    (folder / "log").mkdir()
    settings = {
        "root": str(folder / "root"),
        "track": False,
        "data": {
            **{"source": "parquet", "path": str(folder / "log"), "incremental": True, "ctr_ratio": 0.5},
            **{"bucket_rows": 40, "head_rows": 30},
            "columns": {"time": "time", **({"label": "label"} if labelled else {})},
            "features": OF_OWNERS | (OF_ROWS if labelled else {}),
        },
        "model": {"embedding_dim": 4, "hidden": [8]},
        "framework": {"name": "joint"},
        "training": {"batch_size": 16, "epochs": 1},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    config = load_config(str(folder / "config.yaml"))
    write(folder / "log", "1.parquet", day_one())
    build(spark, config)
    train(config)
    before = contents(spark, config)
    write(folder / "log", "2.parquet", day_two())
    summary = build(spark, config)
    return config, before, contents(spark, config), summary


def write(folder, name, rows):
    pq.write_table(pa.Table.from_pylist([with_features(row) for row in rows], schema=SCHEMA), folder / name)


def contents(spark, config):
    return {name: [row.asDict() for row in tables.read(spark, config.table(name)).collect()] for name in TABLES}


def versions(config):
    return {name: tables.version(config.table(name)) for name in TABLES}


def by(rows, *names):
    return {tuple(one[name] for name in names): one for one in rows}


def ids_of(rows):
    return {one["key"]: one["id"] for one in rows}


def numbers(rows, feature):
    return {one["key"]: one["id"] for one in rows if one["feature"] == feature}


def test_new_rows_are_added_and_each_row_that_is_read_is_accounted_for(grown):
    config, before, after, summary = grown
    again = 1  # the last row of day one, at whose time reading goes on
    assert summary["rows_in"] == len(day_two()) + again
    assert summary["rows_rejected"] == 1
    assert summary["rows_kept"] == (11 if config.data.columns.label else 10)
    assert summary["rows_duplicate"] == summary["rows_in"] - summary["rows_kept"] - 1
    for name in ("samples", "domains", "users", "items"):
        assert summary[name] == len(after[name])
    assert summary["domains"] == len(before["domains"]) + 1


def test_ids_that_were_given_stay_and_new_ones_follow_without_gaps(grown):
    _, before, after, _ = grown
    for name, key, number in (("users", "key", "id"), ("items", "key", "id"), ("domains", "domain_key", "domain_id")):
        old, now = ({row[key]: row[number] for row in held[name]} for held in (before, after))
        assert len(now) > len(old)
        assert {key: now[key] for key in old} == old
        assert sorted(now.values()) == list(range(len(now)))


def test_samples_that_are_there_stay_as_they_are_but_for_their_label(grown):
    config, before, after, _ = grown
    old, now = by(before["samples"], *KEYS), by(after["samples"], *KEYS)
    if config.data.columns.label:
        domain = by(after["domains"], "domain_key")["tail 0",]["domain_id"]
        relabelled = domain, ids_of(after["users"])["u0"], ids_of(after["items"])["i0"]
        assert old[relabelled]["label"] == 0
        old[relabelled]["label"] = 1
    assert len(now) > len(old)
    assert {key: now[key] for key in old} == old


def test_no_pair_is_there_twice(grown):
    samples = grown[2]["samples"]
    assert len(by(samples, *KEYS)) == len(samples)


def test_positives_are_those_of_both_days(grown):
    config, _, after, _ = grown
    users, items = ({number: key for key, number in ids_of(after[name]).items()} for name in ("users", "items"))
    domains = {row["domain_id"]: row["domain_key"] for row in after["domains"]}
    found = {
        (domains[row["domain_id"]], users[row["user_id"]], items[row["item_id"]])
        for row in after["samples"]
        if row["label"] == 1
    }
    rows = [row for row in day_one() + day_two() if row[1]]
    if config.data.columns.label:
        last = {row[:3]: row[3] for row in rows}
        rows = [pair for pair, label in last.items() if label]
    assert found == {row[:3] for row in rows}


def test_domains_that_are_known_stay_where_they_were_planned(grown):
    _, before, after, _ = grown
    old, now = (by(held["domains"], *PLAN) for held in (before, after))
    assert old.keys() <= now.keys()


def test_domains_count_what_their_samples_are_now(grown):
    samples = grown[2]["samples"]
    for row in grown[2]["domains"]:
        own = [sample for sample in samples if sample["domain_id"] == row["domain_id"]]
        assert row["rows"] == len(own)
        assert row["users"] == len({sample["user_id"] for sample in own})
        assert row["items"] == len({sample["item_id"] for sample in own})
        assert row["rows_train"] == sum(sample["split"] == "train" for sample in own)
        first = row["first_bucket"]
        assert {sample["bucket"] for sample in own} <= set(range(first, first + row["buckets"]))


def test_keys_of_features_keep_their_numbers_and_new_ones_get_the_next(grown):
    _, before, after, _ = grown
    for feature, new in {"city": {"new city"}, "genres": {"new genre"}, "device": {"watch"}}.items():
        old, now = (numbers(rows["vocabularies"], feature) for rows in (before, after))
        if old:
            assert {key: now[key] for key in old} == old
            assert {key: now[key] for key in new} == {key: len(old) + 1 for key in new}
            assert by(after["features"], "name")[feature,]["size"] == len(now) + 1
    assert by(after["features"], "name")["past",]["size"] == len(after["items"])
    means = [[(one["name"], one["mean"], one["deviation"]) for one in rows["features"]] for rows in (before, after)]
    assert sorted(means[0], key=str) == sorted(means[1], key=str)


def test_users_and_items_have_what_their_new_rows_say_and_keep_the_rest(grown):
    _, before, after, _ = grown
    old, now = by(before["users"], "key"), by(after["users"], "key")
    city, items = numbers(after["vocabularies"], "city"), ids_of(after["items"])
    age = by(after["features"], "name")["age",]
    assert now["u1",] == old["u1",] | {"city": city["c0"]}
    assert now["u2",] == old["u2",] | {"age": pytest.approx((23 - age["mean"]) / age["deviation"], abs=1e-5)}
    untouched = old.keys() - {("u1",), ("u2",)}
    assert {key: now[key] for key in untouched} == {key: old[key] for key in untouched}
    expected = {"city": city["new city"], "past": [items["i1"], items["new item"]], "past_length": 2}
    assert now["new user",].items() >= expected.items()
    genres = numbers(after["vocabularies"], "genres")
    assert by(after["items"], "key")["new item",]["genres"] == [genres["g1"], genres["new genre"]]


def test_new_samples_have_the_features_of_their_row_user_and_item(grown):
    config, before, after, _ = grown
    users, items = ({one["id"]: one for one in after[name]} for name in ("users", "items"))
    there = by(before["samples"], *KEYS)
    new = [one for key, one in by(after["samples"], *KEYS).items() if key not in there]
    assert {items[one["item_id"]]["key"] for one in new} >= {"new item", "i1"}
    for one in new:
        for owner, names in ((users[one["user_id"]], ("city", "age")), (items[one["item_id"]], ("genres",))):
            assert {name: one[name] for name in names} == {name: owner[name] for name in names}
    if "device" in config.data.features:
        [watched] = [one for one in new if users[one["user_id"]]["key"] == "new user"]
        price = by(after["features"], "name")["price",]
        assert watched["device"] == numbers(after["vocabularies"], "device")["watch"]
        assert watched["price"] == pytest.approx((9 - price["mean"]) / price["deviation"], abs=1e-5)


def test_same_rows_again_change_nothing_and_the_model_of_day_one_trains_on(spark, grown):
    config, _, after, _ = grown
    before = versions(config)
    summary = build(spark, config)
    assert versions(config) == before
    assert summary["rows_kept"] == 0
    assert summary["rows_in"] == summary["rows_duplicate"] + summary["rows_rejected"]
    assert Counter(map(str, contents(spark, config)["samples"])) == Counter(map(str, after["samples"]))
    warm = replace(config, training=replace(config.training, warm_start=True))
    summary = train(warm)
    day_one_model = shared_version(config, newest_trained_version(config, take_snapshot(config).version))
    assert read_manifest(Path(summary["model_path"]))["started_from"] == day_one_model
    assert summary["samples"] == sum(take_snapshot(config).rows_by_bucket("train").values())


def test_other_features_than_those_of_the_tables_are_refused(spark, grown):
    config, *_ = grown
    config = replace(config, data=replace(config.data, features={"age": FeatureConfig(kind="dense")}))
    with pytest.raises(UserError, match=r"built with other data.features \(age, city, .*\), so rows cannot be added"):
        build(spark, config)
