"""Tests features: each step on a few rows, then whole builds against plain loops, then all jobs."""

import copy
import math
import shutil
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from chispa import assert_df_equality
from deltalake import DeltaTable
from pyspark.sql import DataFrame
from sklearn.metrics import roc_auc_score

from pipelines.build_domains import build_domains
from pipelines.dr_longtail import dr_longtail
from pipelines.engine import tables
from pipelines.evaluate import evaluate
from pipelines.samples.cleaning import parse
from pipelines.samples.features import (
    column_definitions,
    dense_moments,
    encode_features,
    latest_values,
    pad_sequences,
    vocabulary_ids,
)
from pipelines.score import score
from pipelines.sources import read_log
from pipelines.tasks.model_key import ModelKey, open_theta
from tests.support.settings import FRAMEWORK
from training.column_names import ID_ORDER, KEYS
from training.config import Config, DataConfig, FeatureConfig, load_config
from training.data.petastorm_reader import read_buckets
from training.data.schema import Feature
from training.data.snapshot import take_snapshot
from training.errors import UserError
from training.parameters.forward import predict
from training.train import train

NUMBER = {"x": FeatureConfig(kind="dense")}


def frame_of(spark, rows, schema):
    return spark.createDataFrame(rows, schema)


def check(frame, rows, schema):
    expected = frame.sparkSession.createDataFrame(rows, schema)
    assert_df_equality(frame.select(*expected.columns), expected, ignore_nullable=True, ignore_row_order=True)


@pytest.mark.parametrize(
    ("feature", "raw", "value", "kinds"),
    [
        (FeatureConfig(kind="category"), "007", "007", "STRING STRING"),
        (FeatureConfig(kind="category"), None, None, "STRING STRING"),
        (FeatureConfig(kind="dense"), "-1.5e1", -15.0, "STRING DOUBLE"),
        (FeatureConfig(kind="dense"), None, None, "STRING DOUBLE"),
        (FeatureConfig(kind="list"), "b||a|", ["b", "a"], "STRING ARRAY<STRING>"),
        (FeatureConfig(kind="list", length=2), "c|b|a", ["b", "a"], "STRING ARRAY<STRING>"),
        (FeatureConfig(kind="list", separator="|.|"), "c|.|b|a", ["c", "b|a"], "STRING ARRAY<STRING>"),
        (FeatureConfig(kind="list", length=2), ["c", None, "b", "", "a"], ["b", "a"], "ARRAY<STRING> ARRAY<STRING>"),
        (
            FeatureConfig(kind="sequence", length=1, separator=" "),
            "i1 i2  i3",
            ["i1", "i2", "i3"],
            "STRING ARRAY<STRING>",
        ),
        (FeatureConfig(kind="sequence"), [], [], "ARRAY<STRING> ARRAY<STRING>"),
    ],
)
def test_value_has_the_type_of_its_kind(spark, feature, raw, value, kinds):
    before, after = kinds.split()
    row = ("u", "i", "d", raw, None)
    log = frame_of(spark, [row], f"user STRING, item STRING, domain STRING, x {before}, _malformed STRING")
    parsed = parse(log, features={"x": feature})
    check(parsed.select("x", "reason"), [(value, None)], f"x {after}, reason STRING")


@pytest.mark.parametrize("value", ["12x", "", "NaN", "Infinity", "1e999"])
def test_dense_value_must_be_a_number(spark, value):
    row = ("u", "i", "d", value, None)
    log = frame_of(spark, [row], "user STRING, item STRING, domain STRING, x STRING, _malformed STRING")
    check(parse(log, features=NUMBER), [("x", "not a number")], "column STRING, reason STRING")


def test_latest_non_null_value_wins_and_ties_take_the_largest(spark):
    rows = [
        ("u1", 1.0, "x", ["a"], 1.0),
        ("u1", 2.0, None, ["b", "c"], 2.0),
        ("u1", 2.0, None, ["b", "a"], 9.0),
        ("u1", None, "y", ["z"], 99.0),
        ("u2", None, None, None, None),
    ]
    clean = frame_of(spark, rows, "user STRING, time DOUBLE, city STRING, genres ARRAY<STRING>, age DOUBLE")
    expected = [("u1", "x", ["b", "c"], 9.0), ("u2", None, None, None)]
    latest = latest_values(clean, "user", ["city", "genres", "age"])
    check(latest, expected, "key STRING, city STRING, genres ARRAY<STRING>, age DOUBLE")


def test_vocabulary_ids_are_dense_and_independent_of_partitioning(spark, shuffle_partitions):
    features = {"city": FeatureConfig(kind="category"), "tags": FeatureConfig(kind="list", of="item")} | NUMBER
    rows = [(f"c{n % 40}", 1.0) for n in range(90)] + [(None, None)]
    lists = [([f"t{n % 7}", f"t{n % 5}"],) for n in range(20)] + [(None,), ([],)]
    values = {
        "row": frame_of(spark, rows, "city STRING, x DOUBLE"),
        "item": frame_of(spark, lists, "tags ARRAY<STRING>"),
    }
    results = []
    for partitions in (1, 7):
        shuffle_partitions(partitions)
        repartitioned = {owner: frame.repartition(partitions) for owner, frame in values.items()}
        vocabulary = vocabulary_ids(repartitioned, features, spark, DataFrame.persist)
        results.append(sorted(map(tuple, vocabulary.collect())))
    assert results[0] == results[1]
    ids = defaultdict(dict)
    for feature, key, number in results[0]:
        ids[feature][key] = number
    assert {name: set(keys) for name, keys in ids.items()} == {
        "city": {f"c{n}" for n in range(40)},
        "tags": {f"t{n}" for n in range(7)},
    }
    assert all(sorted(keys.values()) == list(range(1, len(keys) + 1)) for keys in ids.values())


def test_moments_are_exact_and_independent_of_partitioning(spark):
    values = np.random.default_rng(0).normal(1995, 10, 1000)
    frame = frame_of(spark, [(float(value),) for value in values] + [(None,)], "x DOUBLE")
    results = [dense_moments(frame.repartition(partitions), NUMBER)["x"] for partitions in (1, 2, 7)]
    assert results[0] == results[1] == results[2]
    assert results[0] == pytest.approx((values.mean(), values.std()), rel=1e-9)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.1] * 10, (0.1, 0)), ([0.0, 0.0], (0, 0)), ([None], (0, 0)), ([], (0, 0)), ([1e300, -1e300], (0, 1e300))],
    ids=["constant", "zeros", "nulls", "no rows", "large"],
)
def test_moments_of_constant_missing_and_large_values(spark, values, expected):
    mean, deviation = dense_moments(frame_of(spark, [(value,) for value in values], "x DOUBLE"), NUMBER)["x"]
    assert (mean, deviation) == (pytest.approx(expected[0]), expected[1])


def test_values_become_numbers_without_nulls(spark):
    features = {
        "city": FeatureConfig(kind="category"),
        "age": FeatureConfig(kind="dense"),
        "size": FeatureConfig(kind="dense"),
        "genres": FeatureConfig(kind="list", length=2),
        "seen": FeatureConfig(kind="sequence", length=2),
    }
    keys = {
        "city": frame_of(spark, [("x", 1), ("y", 2)], "key STRING, id BIGINT"),
        "genres": frame_of(spark, [("a", 1), ("b", 2)], "key STRING, id BIGINT"),
        "seen": frame_of(spark, [("i0", 0), ("i1", 1), ("i2", 2)], "key STRING, id BIGINT"),
    }
    rows = [
        (1, "y", 45.0, 3.0, ["b"], ["i2", "i1", "?", "i1", "i0", "?"]),
        (2, "?", 20.0, 3.0, ["b", "a"], ["?"]),
        (3, None, None, None, None, None),
        (4, "y", 30.0, 3.0, [], ["i2"]),
    ]
    schema = "n INT, city STRING, age DOUBLE, size DOUBLE, genres ARRAY<STRING>, seen ARRAY<STRING>"
    encoded = encode_features(frame_of(spark, rows, schema), features, keys, {"age": (30.0, 10.0), "size": (3.0, 0.0)})
    expected = [
        (1, 2, 1.5, 0.0, [2, 0], 1, [1, 0], 2),
        (2, 0, -1.0, 0.0, [2, 1], 2, [0, 0], 0),
        (3, 0, 0.0, 0.0, [0, 0], 0, [0, 0], 0),
        (4, 2, 0.0, 0.0, [0, 0], 0, [2, 0], 1),
    ]
    columns = "genres ARRAY<BIGINT>, genres_length INT, seen ARRAY<BIGINT>, seen_length INT"
    check(encoded, expected, f"n INT, city BIGINT, age FLOAT, size FLOAT, {columns}")
    assert column_definitions(features).startswith("city BIGINT NOT NULL, age FLOAT NOT NULL, size FLOAT NOT NULL, ")


def test_sequence_is_padded_with_the_item_of_the_row(spark):
    samples = frame_of(
        spark, [(7, [3, 0, 0], 1), (8, [0, 3, 9], 3)], "item_id BIGINT, seen ARRAY<BIGINT>, seen_length INT"
    )
    filled = pad_sequences(samples, {"seen": FeatureConfig(kind="sequence", length=3)})
    check(filled, [(7, [3, 7, 7]), (8, [0, 3, 9])], "item_id BIGINT, seen ARRAY<BIGINT>")


def read(spark, path, **features):
    return read_log(spark, DataConfig(source="parquet", path=str(path), features=features))


def test_source_returns_features_as_strings_or_arrays_of_strings(spark, tmp_path):
    rows = [("u", "i", "d", 7, [1, 2], 1.5)]
    frame_of(
        spark, rows, "user STRING, item STRING, domain STRING, c INT, seen ARRAY<INT>, `a b` DOUBLE"
    ).write.parquet(str(tmp_path / "log"))
    log, _ = read(
        spark,
        tmp_path / "log",
        city=FeatureConfig(kind="category", column="c"),
        seen=FeatureConfig(kind="sequence"),
        age=FeatureConfig(kind="dense", column="a b"),
    )
    check(log, [("7", ["1", "2"], "1.5", "u")], "city STRING, seen ARRAY<STRING>, age STRING, user STRING")


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (FeatureConfig(kind="category"), r'/log has no column "x": it has user, item, domain, seen$'),
        (
            FeatureConfig(kind="category", column="seen"),
            r'/log: column "seen" holds arrays, but a category has one value: set data.features.x.kind to list or seq',
        ),
    ],
)
def test_unsuitable_column_of_a_feature_is_named(spark, tmp_path, feature, message):
    rows = [("u", "i", "d", [1, 2])]
    frame_of(spark, rows, "user STRING, item STRING, domain STRING, seen ARRAY<INT>").write.parquet(
        str(tmp_path / "log")
    )
    with pytest.raises(UserError, match=message):
        read(spark, tmp_path / "log", x=feature)


# Whole builds, of a log of 260 rows in seven domains.

FEATURES = {
    "city": {"kind": "category", "of": "user"},
    "age": {"kind": "dense", "of": "user"},
    "genres": {"kind": "list", "of": "item", "length": 2, "column": "genre"},
    "past": {"kind": "sequence", "of": "user", "length": 3, "separator": " "},
}
OF_ROWS = {
    "device": {"kind": "category"},
    "price": {"kind": "dense"},
    "tags": {"kind": "list", "length": 2},
    "seen": {"kind": "sequence", "length": 3},
}
EXPECTED_TYPES = {
    **{"city": "bigint", "age": "float", "genres": "array<bigint>", "genres_length": "int"},
    **{"past": "array<bigint>", "past_length": "int"},
}


def log_rows():
    rng = np.random.default_rng(3)
    sizes = [120, 60, 30, 20, 14, 10, 6]
    rows = []
    for number, domain in enumerate(np.repeat(np.arange(len(sizes)), sizes).tolist()):
        user, item = int(rng.integers(30)), int(rng.integers(20))
        rows.append(
            {
                "user": f"u{user}",
                "item": f"i{item}",
                "domain": f"domain {domain}",
                "label": int((user + item + rng.integers(3)) % 3 == 0),
                "time": number,
                "city": None if user % 7 == 0 else f"c{user % 4}",
                "age": None if user % 11 == 0 else str(20 + user + number % 2),
                "genre": "|".join(f"g{item % count}" for count in (2, 3, 5)) if item % 6 else None,
                "past": " ".join(f"i{n}" for n in rng.integers(24, size=user % 6)),  # i20 .. i23 have no id
                "device": ["phone", "web", None][number % 3],
                "price": None if number % 9 == 0 else float(number % 13),
                "tags": [f"t{n}" for n in rng.integers(6, size=number % 4)],
                "seen": [f"i{n}" for n in rng.integers(24, size=number % 6)],
            }
        )
    return rows


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Returns a function (features, columns, *settings) that writes the log to a new folder and returns a config."""

    def make_config(features, columns, *settings):
        folder = tmp_path_factory.mktemp("featured")
        pq.write_table(pa.Table.from_pylist(log_rows()), folder / "log.parquet")
        config = {
            "root": str(folder / "root"),
            "track": False,
            "data": {
                **{"source": "parquet", "path": str(folder / "log.parquet"), "columns": columns},
                **{"bucket_rows": 60, "head_rows": 50, "features": features},
            },
            "model": {"embedding_dim": 4, "hidden": [8], "pooling": "attention"},
            "framework": {**FRAMEWORK, "stop_group": 2},
            "training": {"batch_size": 32, "epochs": 2},
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        return load_config(str(folder / "config.yaml"), settings)

    return make_config


@pytest.fixture(scope="module")
def labelled(spark, make):
    """Builds the log with its labels and all features."""
    config = make(FEATURES | OF_ROWS, {"label": "label", "time": "time"})
    build_domains(spark, config)
    return config


@pytest.fixture(scope="module")
def drawn(spark, make):
    """Builds the log without labels, with the features of users and items."""
    config = make(FEATURES, {"time": "time"})
    build_domains(spark, config)
    return config


def rows_of(spark, config, name):
    return tables.read(spark, config.table(name)).collect()


def latest_rows():
    """Returns the latest row of each (domain, user, item)."""
    return {(row["domain"], row["user"], row["item"]): row for row in log_rows()}


class Reference:
    """Computes the encoded features by plain loops over the log, with the ids in the tables."""

    def __init__(self, spark, config):
        self.ids = defaultdict(dict)
        for feature, key, number in rows_of(spark, config, "vocabularies"):
            self.ids[feature][key] = number
        self.keys = {
            name: {row["key"]: row["id"] for row in rows_of(spark, config, name)} for name in ("users", "items")
        }
        self.domains = {row["domain_key"]: row["domain_id"] for row in rows_of(spark, config, "domains")}
        self.rows = latest_rows()

    def latest(self, owner, key, column):
        values = [row[column] for row in sorted(self.rows.values(), key=lambda row: row["time"]) if row[owner] == key]
        return next((value for value in reversed(values) if value is not None), None)

    def dense(self, column, value):
        values = [float(row[column]) for row in self.rows.values() if row[column] is not None]
        return 0.0 if value is None else (float(value) - np.mean(values)) / np.std(values)

    def of_list(self, name, values, length):
        ids = [self.ids[name][value] for value in (values or [])][-length:]
        return ids + [0] * (length - len(ids)), len(ids)

    def of_sequence(self, values, length, item):
        ids = [self.keys["items"][value] for value in (values or []) if value in self.keys["items"]][-length:]
        return ids + [item] * (length - len(ids)), len(ids)

    def of_user(self, key, item):
        past, past_length = self.of_sequence((self.latest("user", key, "past") or "").split(), 3, item)
        return {
            "city": self.ids["city"].get(self.latest("user", key, "city"), 0),
            "age": self.dense("age", self.latest("user", key, "age")),
            "past": past,
            "past_length": past_length,
        }

    def of_item(self, key):
        genre = self.latest("item", key, "genre")
        genres, length = self.of_list("genres", genre and genre.split("|"), 2)
        return {"genres": genres, "genres_length": length}

    def of_row(self, row, item):
        tags, tags_length = self.of_list("tags", row["tags"], 2)
        seen, seen_length = self.of_sequence(row["seen"], 3, item)
        return {
            "device": self.ids["device"].get(row["device"], 0),
            "price": self.dense("price", row["price"]),
            **{"tags": tags, "tags_length": tags_length, "seen": seen, "seen_length": seen_length},
        }


def assert_features(row, expected):
    for name, value in expected.items():
        assert row[name] == (pytest.approx(value, abs=1e-5) if isinstance(value, float) else value), name


@pytest.mark.parametrize("build", ["labelled", "drawn"])
def test_user_and_item_features_are_in_their_tables_and_samples(spark, request, build):
    config = request.getfixturevalue(build)
    reference = Reference(spark, config)
    users, items = ({number: key for key, number in reference.keys[name].items()} for name in ("users", "items"))
    samples = rows_of(spark, config, "samples")
    assert {sample["label"] for sample in samples} == {0.0, 1.0}
    for sample in samples:
        assert_features(sample, reference.of_user(users[sample["user_id"]], sample["item_id"]))
        assert_features(sample, reference.of_item(items[sample["item_id"]]))
    for row in rows_of(spark, config, "users"):
        assert_features(row, reference.of_user(row["key"], 0))
    for row in rows_of(spark, config, "items"):
        assert_features(row, reference.of_item(row["key"]))
    assert {0, 1, 2, 3} == {sample["past_length"] for sample in samples}


def test_row_features_are_those_of_each_row(spark, labelled):
    reference = Reference(spark, labelled)
    users, items, domains = reference.keys["users"], reference.keys["items"], reference.domains
    by_ids = {(domains[d], users[u], items[i]): row for (d, u, i), row in reference.rows.items()}
    samples = rows_of(spark, labelled, "samples")
    assert len(samples) == len(by_ids)
    for sample in samples:
        row = by_ids[sample["domain_id"], sample["user_id"], sample["item_id"]]
        assert_features(sample, {"label": float(row["label"]), **reference.of_row(row, sample["item_id"])})


def test_samples_have_typed_columns_without_nulls(spark, drawn):
    samples = tables.read(spark, drawn.table("samples"))
    types = dict(samples.dtypes)
    assert {name: types[name] for name in EXPECTED_TYPES} == EXPECTED_TYPES
    assert [name for name in samples.columns if name not in EXPECTED_TYPES] == [
        *("domain_id", "user_id", "item_id", "label", "bucket", "split")
    ]
    assert not any(field.nullable for field in DeltaTable(drawn.table("samples")).schema().fields)
    files = samples.inputFiles()
    assert len(files) == samples.select("split", "bucket").distinct().count()
    for file in files:
        rows = pq.ParquetFile(file.removeprefix("file:")).read(list(ID_ORDER)).to_pydict()
        order = list(zip(*rows.values(), strict=True))
        assert order == sorted(order)


def test_features_are_independent_of_partitioning(spark, labelled, make, shuffle_partitions):
    config = make(FEATURES | OF_ROWS, {"label": "label", "time": "time"})
    log = spark.read.parquet(config.data.path)
    config.data.path = config.data.path.replace("log.parquet", "log")
    log.repartition(5, "price").write.parquet(config.data.path)
    shuffle_partitions(7)
    build_domains(spark, config)
    for name in ("samples", "users", "items", "vocabularies", "features"):
        first, second = (sorted(map(repr, rows_of(spark, build, name))) for build in (labelled, config))
        assert first == second, name


def test_splits_of_repeated_pairs_are_independent_of_row_order(spark, make, shuffle_partitions):
    config = make({"price": {"kind": "dense"}}, {"label": "label", "event": "event"})
    rows = [(f"u{n % 3}", "i", "d", 1, float(n), n) for n in range(30)]
    results = []
    for partitions, order in ((1, 1), (5, -1)):
        log = frame_of(
            spark, rows[::order], "user STRING, item STRING, domain STRING, label INT, price DOUBLE, event INT"
        )
        log.repartition(partitions).write.mode("overwrite").parquet(config.data.path)
        shuffle_partitions(partitions)
        assert build_domains(spark, config)["samples"] == 30
        results.append(sorted(map(repr, rows_of(spark, config, "samples"))))
    assert results[0] == results[1]


def test_features_table_describes_the_build(spark, labelled):
    rows = {row["name"]: row.asDict() for row in rows_of(spark, labelled, "features")}
    assert set(rows) == set(FEATURES | OF_ROWS)
    ages = [float(row["age"]) for row in latest_rows().values() if row["age"] is not None]
    assert rows["age"] == {
        **{"name": "age", "kind": "dense", "of": "user", "vocabulary": None, "size": 0, "length": 0},
        **{"mean": pytest.approx(np.mean(ages)), "deviation": pytest.approx(np.std(ages))},
    }
    nothing = {"mean": None, "deviation": None}
    items = len(rows_of(spark, labelled, "items"))
    assert (
        rows["city"]
        == {"name": "city", "kind": "category", "of": "user", "vocabulary": "city", "size": 5, "length": 0} | nothing
    )
    assert (
        rows["tags"]
        == {"name": "tags", "kind": "list", "of": "row", "vocabulary": "tags", "size": 7, "length": 2} | nothing
    )
    assert rows["seen"] == {
        **{"name": "seen", "kind": "sequence", "of": "row", "vocabulary": "item_id", "size": items, "length": 3},
        **nothing,
    }


def test_trainer_reads_the_schema_of_the_build(spark, labelled):
    features = {feature.name: feature for feature in take_snapshot(labelled).schema.features}
    items = len(rows_of(spark, labelled, "items"))
    assert features["city"] == Feature("city", "category", "city", size=5)
    assert features["age"] == Feature("age", "dense", None)
    assert features["past"] == Feature("past", "sequence", "item_id", size=items, length=3)


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ({"device": FeatureConfig(kind="category")}, r'"device" \(category\) was not built \(there are .*city.*\) in'),
        ({"city": FeatureConfig(kind="list")}, r'"city" \(list\) is built as category in .*/features: run pipelines/b'),
    ],
)
def test_missing_feature_is_named_before_data_is_read(drawn, feature, message):
    config = copy.deepcopy(drawn)
    config.data.features |= feature
    with pytest.raises(UserError, match=message):
        take_snapshot(config)


@dataclass(frozen=True)
class Rebuilt:
    """Three builds of a log: their config and, by table, its version after each build."""

    config: Config
    versions: dict


@pytest.fixture(scope="module")
def rebuilt(spark, drawn, tmp_path_factory):
    """Builds the log without labels three times: with its features, with other features, and without features."""
    config = copy.deepcopy(drawn)
    config.root = str(tmp_path_factory.mktemp("rebuilt"))
    shutil.copytree(f"{drawn.root}/tables", f"{config.root}/tables")
    others = {"city": FeatureConfig(kind="list", of="user"), "device": FeatureConfig(kind="category", of="item")}
    versions = {name: [tables.version(config.table(name))] for name in ("samples", "users", "items")}
    for config.data.features in (others, {}):
        build_domains(spark, config)
        for name, of_table in versions.items():
            of_table.append(tables.version(config.table(name)))
    return Rebuilt(config, versions)


def test_rebuild_with_other_features_keeps_older_versions(spark, drawn, rebuilt):
    config, versions = rebuilt.config, rebuilt.versions
    types = [dict(tables.read(spark, config.table("samples"), version).dtypes) for version in versions["samples"]]
    assert {name: types[0][name] for name in EXPECTED_TYPES} == EXPECTED_TYPES
    assert (types[1]["city"], types[1]["city_length"], types[1]["device"]) == ("array<bigint>", "int", "bigint")
    assert "age" not in types[1]
    columns = {name: tables.read(spark, config.table(name), of_table[1]).columns for name, of_table in versions.items()}
    assert ("device" in columns["items"], "device" in columns["users"]) == (True, False)
    for name, count in {"samples": 6, "users": 2, "items": 2}.items():
        assert len(tables.read(spark, config.table(name)).columns) == count
    assert [tables.read(spark, config.table(name)).count() for name in ("vocabularies", "features")] == [0, 0]
    properties = spark.sql(f"SHOW TBLPROPERTIES delta.`{config.table('samples')}`").collect()
    constraints = {row["key"] for row in properties if row["key"].startswith("delta.constraints.")}
    assert constraints == {
        f"delta.constraints.{name}" for name in ("label_is_0_or_1", "split_is_known", "ids_from_zero")
    }
    first = tables.read(spark, config.table("samples"), versions["samples"][0])
    assert sorted(map(str, first.collect())) == sorted(map(str, rows_of(spark, drawn, "samples")))


def test_features_do_not_change_the_negatives(spark, rebuilt):
    config, versions = rebuilt.config, rebuilt.versions
    columns = ("domain_id", "user_id", "item_id", "label", "bucket", "split")
    results = [
        sorted(map(tuple, tables.read(spark, config.table("samples"), version).select(*columns).collect()))
        for version in versions["samples"]
    ]
    assert results[0] == results[1] == results[2]


def test_row_feature_is_refused_if_negatives_are_drawn(spark, make):
    with pytest.raises(UserError, match=r'feature "device" belongs to rows .*: set data.features.device.of to user'):
        build_domains(spark, make(FEATURES | OF_ROWS, {}))


def test_all_jobs_run_with_all_kinds_of_features(spark, labelled):
    labelled.framework.name = "mamdr"
    summary = train(labelled)
    assert summary["model"] == "mlp"
    dr_longtail(spark, labelled)
    models = evaluate(spark, labelled)["models"]
    snapshot = take_snapshot(labelled)
    model, theta = open_theta(ModelKey.find(labelled, snapshot.version))
    test = read_buckets(snapshot, "test")
    assert test["seen"].shape == (len(test["label"]), 3)
    logits = predict(model, theta, test)
    assert models["dn"]["auc"] == pytest.approx(roc_auc_score(test["label"], logits), abs=1e-6)
    assert math.isfinite(models["mamdr"]["logloss"])
    names = set(model.state_dict())
    assert {
        "embeddings.city.weight",
        "embeddings.directions.price",
        "embeddings.attention.seen.score.0.weight",
    } <= names


def test_request_is_scored_like_a_sample_with_the_same_features(spark, drawn):
    drawn = copy.deepcopy(drawn)
    drawn.framework.shared, drawn.framework.specific, drawn.framework.name = "joint", "none", "joint"
    drawn.score.top_k = 1000
    train(drawn)
    score(spark, drawn)
    snapshot = take_snapshot(drawn)
    model, theta = open_theta(ModelKey.find(drawn, snapshot.version))
    samples = read_buckets(snapshot, "train")
    expected = 1 / (1 + np.exp(-predict(model, theta, samples).astype(float)))
    ids = {name: tables.read(spark, drawn.table(f"{name}s")) for name in KEYS}
    scores = tables.read(spark, drawn.table("scores"))
    for name, column in (("user", "id"), ("item", "id")):
        scores = scores.join(ids[name].selectExpr(f"key AS {name}_key", f"{column} AS {name}_id"), f"{name}_key")
    scores = scores.join(ids["domain"].select("domain_key", "domain_id"), "domain_key")
    score_of = {row[:3]: row[3] for row in scores.select("domain_id", "user_id", "item_id", "score").collect()}
    triples = zip(*(samples[name].tolist() for name in ID_ORDER), strict=True)
    assert [score_of[triple] for triple in triples] == pytest.approx(expected.tolist(), abs=1e-5)


def test_model_with_row_features_cannot_score_requests(spark, labelled):
    with pytest.raises(UserError, match='feature "device" is the value of a row of the log, and a request has none'):
        score(spark, labelled)
