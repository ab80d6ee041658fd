"""A log with features that grows: numbers keep their meaning, and what is new is added behind what is there."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipelines import tables
from pipelines.build_domains import build
from training.config import load_config
from training.growing import newest_stored
from training.snapshot import take_snapshot
from training.store import read_manifest
from training.train import train
from training.versions import shared_version

OF_OWNERS = {
    "city": {"kind": "category", "of": "user"},
    "age": {"kind": "dense", "of": "user"},
    "past": {"kind": "sequence", "of": "user", "length": 2},
    "genres": {"kind": "list", "of": "item", "length": 2},
}
OF_ROWS = {"device": {"kind": "category"}, "price": {"kind": "dense"}}
NAMES = (*OF_OWNERS, *OF_ROWS)
TABLES = ("samples", "users", "items", "vocabularies", "features")
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("user", "item", "domain")]
    + [("label", pa.int64()), ("time", pa.int64())]
    + [(name, pa.float64() if name == "price" else pa.string()) for name in NAMES]
)


def row(user, item, domain, label, time, **features):
    return {
        **dict(zip(("user", "item", "domain", "label", "time"), (user, item, domain, label, time), strict=True)),
        **{name: features.get(name) for name in NAMES},
    }


def day_one():
    """Eight users, of whom u0 has no city, in two domains; prices 0 to 3."""
    return [
        row(
            f"u{n % 8}", f"i{n % 10}", "a" if n < 40 else "b", n % 2, n,
            city=f"c{n % 8 % 3}" if n % 8 else None, age=str(20 + n % 8), past=f"i{n % 8}|i9",
            genres=f"g{n % 10 % 2}", device="phone" if n % 2 else "web", price=float(n % 4),
        )
        for n in range(60)
    ]  # fmt: skip


def day_two():
    """A user, an item, a city, a genre and a device that are new; u1 moves, and u2 is a year older."""
    return [
        row("new", "i1", "a", 1, 100, city="new city", age="30", past="i1|fresh", device="watch", price=9.0),
        row("u1", "fresh", "a", 0, 101, city="c0", genres="g1|new genre", device="web", price=1.0),
        row("u2", "fresh", "a", 1, 102, age="23", genres="g1|new genre", price=None),
    ]


@pytest.fixture(scope="module", params=["labelled", "positives only"])
def grown(request, spark, tmp_path_factory):
    """(config, by table the rows after day one, those after day two)."""
    folder = tmp_path_factory.mktemp("grown")
    labelled = request.param == "labelled"
    (folder / "log").mkdir()
    settings = {
        "root": str(folder / "root"),
        "track": False,
        "data": {
            **{"source": "parquet", "path": str(folder / "log"), "incremental": True, "ctr_ratio": 0.5},
            "columns": {"time": "time", **({"label": "label"} if labelled else {})},
            "features": OF_OWNERS | (OF_ROWS if labelled else {}),
        },
        "model": {"embedding_dim": 4, "hidden": [8]},
        "framework": {"name": "joint"},
        "training": {"batch_size": 16, "epochs": 1},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    config = load_config(str(folder / "config.yaml"))
    found = []
    for day, rows in enumerate((day_one(), day_two())):
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / "log" / f"{day}.parquet")
        build(spark, config)
        if not found:
            train(config)
        found.append({name: rows_of(spark, config, name) for name in TABLES})
    return config, *found


def rows_of(spark, config, name):
    return [one.asDict() for one in tables.read(spark, config.table(name)).collect()]


def by(rows, *names):
    return {tuple(one[name] for name in names): one for one in rows}


def ids_of(rows):
    return {one["key"]: one["id"] for one in rows}


def numbers(rows, feature):
    return {one["key"]: one["id"] for one in rows if one["feature"] == feature}


def test_samples_that_are_there_keep_their_features(grown):
    _, before, after = grown
    keys = ("domain_id", "user_id", "item_id")
    old, now = by(before["samples"], *keys), by(after["samples"], *keys)
    assert len(now) > len(old)
    assert {key: now[key] for key in old} == old


def test_keys_keep_their_numbers_and_new_ones_get_the_next(grown):
    _, before, after = grown
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
    _, before, after = grown
    old, now = by(before["users"], "key"), by(after["users"], "key")
    city, items = numbers(after["vocabularies"], "city"), ids_of(after["items"])
    age = by(after["features"], "name")["age",]
    assert now["u1",] == old["u1",] | {"city": city["c0"]}
    assert now["u2",] == old["u2",] | {"age": pytest.approx((23 - age["mean"]) / age["deviation"], abs=1e-5)}
    untouched = old.keys() - {("u1",), ("u2",)}
    assert {key: now[key] for key in untouched} == {key: old[key] for key in untouched}
    expected = {"city": city["new city"], "past": [items["i1"], items["fresh"]], "past_length": 2}
    assert now["new",].items() >= expected.items()
    genres = numbers(after["vocabularies"], "genres")
    assert by(after["items"], "key")["fresh",]["genres"] == [genres["g1"], genres["new genre"]]


def test_new_samples_have_the_features_of_their_row_user_and_item(grown):
    config, before, after = grown
    users, items = ({one["id"]: one for one in after[name]} for name in ("users", "items"))
    there = by(before["samples"], "domain_id", "user_id", "item_id")
    new = [one for key, one in by(after["samples"], "domain_id", "user_id", "item_id").items() if key not in there]
    assert {items[one["item_id"]]["key"] for one in new} >= {"fresh", "i1"}
    for one in new:
        for owner, names in ((users[one["user_id"]], ("city", "age")), (items[one["item_id"]], ("genres",))):
            assert {name: one[name] for name in names} == {name: owner[name] for name in names}
    if "device" in config.data.features:
        [watched] = [one for one in new if users[one["user_id"]]["key"] == "new"]
        price = by(after["features"], "name")["price",]
        assert watched["device"] == numbers(after["vocabularies"], "device")["watch"]
        assert watched["price"] == pytest.approx((9 - price["mean"]) / price["deviation"], abs=1e-5)


def test_same_rows_again_change_nothing_and_the_model_of_day_one_trains_on(spark, grown):
    config, _, after = grown
    assert build(spark, config)["rows_kept"] == 0
    assert {name: rows_of(spark, config, name) for name in TABLES} == after
    warm = replace(config, training=replace(config.training, warm_start=True))
    summary = train(warm)
    day_one_model = shared_version(config, newest_stored(config, take_snapshot(config).version))
    assert read_manifest(Path(summary["model_path"]))["started_from"] == day_one_model
    assert summary["samples"] == sum(take_snapshot(config).rows_by_bucket("train").values())
