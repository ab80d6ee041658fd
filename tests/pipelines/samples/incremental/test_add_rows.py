"""Adds a second day of rows to the tables of the first day: ids, buckets and samples stay, and new ones follow."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.build_domains import build
from pipelines.engine import tables
from pipelines.samples.incremental.changed_samples import PLAN
from tests.support.two_days import day_one, day_two
from training.artifacts.manifest import read_manifest
from training.artifacts.model_names import shared_version
from training.artifacts.warm_start import newest_trained_version
from training.column_names import ID_ORDER, KEY_ORDER
from training.config import Config, FeatureConfig, load_config
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
SCHEMA = pa.schema(
    [(name, pa.string()) for name in KEY_ORDER]
    + [("label", pa.int64()), ("time", pa.int64())]
    + [(name, pa.float64() if name == "price" else pa.string()) for name in (*OF_OWNERS, *OF_ROWS)]
)
OTHER_FEATURES = {  # on day two: a new city, genre and device; u1 moves, and u2 is a year older
    "new user": {"city": "new city", "age": "30", "past": "i1|new item", "device": "watch", "price": 9.0},
    "u1": {"city": "c0", "device": "web", "price": 1.0},
    "u2": {"age": "23"},
}


def with_features(row):
    """Adds features to a row of the log; u0 has no city, and prices are 0 to 3."""
    domain, user, item, label, time = row
    if item == "new item":
        features = OTHER_FEATURES[user] | {"genres": "g1|new genre"}
    else:
        number = int(user[1:] or 0)
        features = {
            "city": f"c{number % 3}" if number else None,
            "age": str(20 + number),
            "past": f"i{number}|i9",
            "genres": f"g{int(item[1:]) % 2}",
            "device": "phone" if time % 2 else "web",
            "price": float(time % 4),
        }
    return {"domain": domain, "user": user or None, "item": item, "label": label, "time": time, **features}


@dataclass(frozen=True)
class ExtendedTables:
    """Tables to which an incremental build has added rows.

    Attributes:
        before, after: by table, its rows before and after the incremental build.
        summary: of the incremental build.
    """

    config: Config
    before: dict
    after: dict
    summary: dict


@pytest.fixture(scope="module", params=["labelled", "positives only"])
def extended(request, spark, tmp_path_factory):
    """Builds and trains on day one, then adds the rows of day two."""
    folder = tmp_path_factory.mktemp("incremental")
    labelled = request.param == "labelled"
    (folder / "log").mkdir()
    settings = {
        "root": str(folder / "root"),
        "track": False,
        "data": {
            "source": "parquet",
            "path": str(folder / "log"),
            "incremental": True,
            "ctr_ratio": 0.5,
            "bucket_rows": 40,
            "head_rows": 30,
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
    return ExtendedTables(config, before, contents(spark, config), summary)


def write(folder, name, rows):
    pq.write_table(pa.Table.from_pylist([with_features(row) for row in rows], schema=SCHEMA), folder / name)


def contents(spark, config):
    return {name: [row.asDict() for row in tables.read(spark, config.table(name)).collect()] for name in TABLES}


def versions(config):
    return {name: tables.version(config.table(name)) for name in TABLES}


def by(rows, *names):
    return {tuple(row[name] for name in names): row for row in rows}


def ids_of(rows):
    return {row["key"]: row["id"] for row in rows}


def vocabulary(rows, feature):
    return {row["key"]: row["id"] for row in rows if row["feature"] == feature}


def test_new_rows_are_added_and_all_rows_counted(extended):
    config, before, after, summary = extended.config, extended.before, extended.after, extended.summary
    read_again = 1  # the last row of day one: reading resumes at its time
    assert summary["rows_in"] == len(day_two()) + read_again
    assert summary["rows_rejected"] == 1
    assert summary["rows_kept"] == (11 if config.data.columns.label else 10)
    assert summary["rows_duplicate"] == summary["rows_in"] - summary["rows_kept"] - 1
    for name in ("samples", "domains", "users", "items"):
        assert summary[name] == len(after[name])
    assert summary["domains"] == len(before["domains"]) + 1


def test_ids_stay_and_new_ids_follow_without_gaps(extended):
    before, after = extended.before, extended.after
    for name, key, id_column in (
        ("users", "key", "id"),
        ("items", "key", "id"),
        ("domains", "domain_key", "domain_id"),
    ):
        old, now = ({row[key]: row[id_column] for row in state[name]} for state in (before, after))
        assert len(now) > len(old)
        assert {key: now[key] for key in old} == old
        assert sorted(now.values()) == list(range(len(now)))


def test_existing_samples_change_only_their_label(extended):
    config, before, after = extended.config, extended.before, extended.after
    old, now = by(before["samples"], *ID_ORDER), by(after["samples"], *ID_ORDER)
    if config.data.columns.label:
        domain = by(after["domains"], "domain_key")["tail 0",]["domain_id"]
        relabelled = domain, ids_of(after["users"])["u0"], ids_of(after["items"])["i0"]
        assert old[relabelled]["label"] == 0
        old[relabelled]["label"] = 1
    assert len(now) > len(old)
    assert {key: now[key] for key in old} == old


def test_no_pair_is_sampled_twice(extended):
    samples = extended.after["samples"]
    assert len(by(samples, *ID_ORDER)) == len(samples)


def test_positives_are_those_of_both_days(extended):
    config, after = extended.config, extended.after
    users, items = ({number: key for key, number in ids_of(after[name]).items()} for name in ("users", "items"))
    domains = {row["domain_id"]: row["domain_key"] for row in after["domains"]}
    positives = {
        (domains[row["domain_id"]], users[row["user_id"]], items[row["item_id"]])
        for row in after["samples"]
        if row["label"] == 1
    }
    rows = [row for row in day_one() + day_two() if row[1]]
    if config.data.columns.label:
        last = {row[:3]: row[3] for row in rows}
        rows = [pair for pair, label in last.items() if label]
    assert positives == {row[:3] for row in rows}


def test_existing_domains_keep_their_plan(extended):
    before, after = extended.before, extended.after
    old, now = (by(state["domains"], *PLAN) for state in (before, after))
    assert old.keys() <= now.keys()


def test_domains_count_their_current_samples(extended):
    samples = extended.after["samples"]
    for row in extended.after["domains"]:
        of_domain = [sample for sample in samples if sample["domain_id"] == row["domain_id"]]
        assert row["rows"] == len(of_domain)
        assert row["users"] == len({sample["user_id"] for sample in of_domain})
        assert row["items"] == len({sample["item_id"] for sample in of_domain})
        assert row["rows_train"] == sum(sample["split"] == "train" for sample in of_domain)
        first = row["first_bucket"]
        assert {sample["bucket"] for sample in of_domain} <= set(range(first, first + row["buckets"]))


def test_feature_keys_keep_their_ids_and_new_keys_get_the_next(extended):
    before, after = extended.before, extended.after
    for feature, new in {"city": {"new city"}, "genres": {"new genre"}, "device": {"watch"}}.items():
        old, now = (vocabulary(rows["vocabularies"], feature) for rows in (before, after))
        if old:
            assert {key: now[key] for key in old} == old
            assert {key: now[key] for key in new} == {key: len(old) + 1 for key in new}
            assert by(after["features"], "name")[feature,]["size"] == len(now) + 1
    assert by(after["features"], "name")["past",]["size"] == len(after["items"])
    means = [[(row["name"], row["mean"], row["deviation"]) for row in state["features"]] for state in (before, after)]
    assert sorted(means[0], key=str) == sorted(means[1], key=str)


def test_new_rows_update_the_features_of_users_and_items(extended):
    before, after = extended.before, extended.after
    old, now = by(before["users"], "key"), by(after["users"], "key")
    city, items = vocabulary(after["vocabularies"], "city"), ids_of(after["items"])
    age = by(after["features"], "name")["age",]
    assert now["u1",] == old["u1",] | {"city": city["c0"]}
    assert now["u2",] == old["u2",] | {"age": pytest.approx((23 - age["mean"]) / age["deviation"], abs=1e-5)}
    untouched = old.keys() - {("u1",), ("u2",)}
    assert {key: now[key] for key in untouched} == {key: old[key] for key in untouched}
    expected = {"city": city["new city"], "past": [items["i1"], items["new item"]], "past_length": 2}
    assert now["new user",].items() >= expected.items()
    genres = vocabulary(after["vocabularies"], "genres")
    assert by(after["items"], "key")["new item",]["genres"] == [genres["g1"], genres["new genre"]]


def test_new_samples_have_features_of_row_user_and_item(extended):
    config, before, after = extended.config, extended.before, extended.after
    users, items = ({row["id"]: row for row in after[name]} for name in ("users", "items"))
    old = by(before["samples"], *ID_ORDER)
    new = [sample for key, sample in by(after["samples"], *ID_ORDER).items() if key not in old]
    assert {items[sample["item_id"]]["key"] for sample in new} >= {"new item", "i1"}
    for sample in new:
        for owner, names in ((users[sample["user_id"]], ("city", "age")), (items[sample["item_id"]], ("genres",))):
            assert {name: sample[name] for name in names} == {name: owner[name] for name in names}
    if "device" in config.data.features:
        [of_new_user] = [sample for sample in new if users[sample["user_id"]]["key"] == "new user"]
        price = by(after["features"], "name")["price",]
        assert of_new_user["device"] == vocabulary(after["vocabularies"], "device")["watch"]
        assert of_new_user["price"] == pytest.approx((9 - price["mean"]) / price["deviation"], abs=1e-5)


def test_repeated_rows_change_nothing_and_training_resumes(spark, extended):
    config, after = extended.config, extended.after
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


def test_rows_with_other_features_are_refused(spark, extended):
    config = replace(extended.config, data=replace(extended.config.data, features={"age": FeatureConfig(kind="dense")}))
    with pytest.raises(UserError, match=r"built with other data.features \(age, city, .*\), so rows cannot be added"):
        build(spark, config)
