import gzip
import json
import shutil
from collections import Counter
from dataclasses import replace

import pytest

from pipelines import growth, tables
from pipelines.build_domains import build
from training.config import FeatureConfig
from training.errors import UserError

TABLES = ("samples", "domains", "users", "items", "rejects", "builds")
SETTINGS = (
    "data.incremental=true",
    "data.bucket_rows=40",
    "data.head_rows=30",
    "data.ctr_ratio=0.5",
    "data.columns.time=time",
)
LABELLED = "data.columns.label=label"


def write(folder, name, rows):
    """A file of (domain, user, item, label, time) rows."""
    folder.mkdir(exist_ok=True)
    lines = [",".join(map(str, row)) for row in rows]
    (folder / name).write_text("\n".join(["domain,user,item,label,time", *lines, ""]))


def day_one():
    """A head domain with 50 rows, and five tail domains."""
    rows = [("head", f"u{n % 9}", f"i{n}", n % 2, n) for n in range(50)]
    return rows + [(f"tail {d}", f"u{n}", f"i{n + d}", n % 2, n) for d in range(5) for n in range(8)]


def day_two():
    """A row with another label, one that is there already, new rows, a new user and item, a new domain, a reject."""
    rows = [("tail 0", "u0", "i0", 1, 100), ("tail 0", "u1", "i1", 1, 101), ("tail 0", "u9", "i50", 0, 102)]
    rows += [("head", "new user", "new item", 1, 103), ("head", "u1", "new item", 0, 104)]
    return rows + [("new domain", "u3", f"i{n}", n % 2, 105) for n in range(6)] + [("head", "", "i1", 1, 106)]


def contents(spark, config):
    return {name: Counter(map(str, tables.read(spark, config.table(name)).collect())) for name in TABLES}


def versions(config):
    return {name: tables.version(config.table(name)) for name in TABLES}


def rows_of(spark, config, name, key):
    return {row[key]: row for row in tables.read(spark, config.table(name)).collect()}


@pytest.fixture(scope="module", params=["labelled", "positives only"])
def grown(request, spark, tmp_path_factory, make_config):
    """(config, the tables after day one, summary of day two)."""
    log = tmp_path_factory.mktemp("grown") / "log"
    config = make_config("csv", log, *SETTINGS, *([LABELLED] if request.param == "labelled" else []))
    write(log, "1.csv", day_one())
    build(spark, config)
    shutil.copytree(f"{config.root}/tables", f"{config.root}/of day one")
    before = {name: tables.read(spark, config.table(name)).collect() for name in TABLES}
    write(log, "2.csv", day_two())
    return config, before, build(spark, config)


def test_new_rows_are_added_and_each_row_that_is_read_is_accounted_for(spark, grown):
    config, before, summary = grown
    labelled = config.data.columns.label is not None
    again = 1  # the last row of day one, at whose time reading goes on
    assert summary["rows_in"] == len(day_two()) + again
    assert summary["rows_rejected"] == 1
    assert summary["rows_kept"] == (10 if labelled else 9)
    assert summary["rows_duplicate"] == summary["rows_in"] - summary["rows_kept"] - 1
    for name in ("samples", "domains", "users", "items"):
        assert summary[name] == tables.read(spark, config.table(name)).count()
    assert summary["domains"] == len(before["domains"]) + 1


def test_ids_that_were_given_stay_and_new_ones_follow_without_gaps(spark, grown):
    config, before, _ = grown
    for name, key, number in (("users", "key", "id"), ("items", "key", "id"), ("domains", "domain_key", "domain_id")):
        now = {row[key]: row[number] for row in tables.read(spark, config.table(name)).collect()}
        old = {row[key]: row[number] for row in before[name]}
        assert len(now) > len(old)
        assert {key: now[key] for key in old} == old
        assert sorted(now.values()) == list(range(len(now)))


def test_samples_of_domains_without_new_rows_stay_as_they_are(spark, grown):
    config, before, _ = grown
    of_domain = rows_of(spark, config, "domains", "domain_key")
    untouched = {of_domain[f"tail {d}"]["domain_id"] for d in range(1, 5)}
    now = tables.read(spark, config.table("samples")).collect()
    kept = [Counter(row for row in rows if row["domain_id"] in untouched) for rows in (before["samples"], now)]
    assert kept[0] == kept[1]
    assert kept[0]


def test_what_was_in_a_split_stays_there(spark, grown):
    config, before, _ = grown
    splits = [
        {(row["domain_id"], row["user_id"], row["item_id"]): row["split"] for row in rows}
        for rows in (before["samples"], tables.read(spark, config.table("samples")).collect())
    ]
    assert splits[0].items() <= splits[1].items()


def test_no_pair_is_there_twice(spark, grown):
    samples = tables.read(spark, grown[0].table("samples")).collect()
    assert len({(row["domain_id"], row["user_id"], row["item_id"]) for row in samples}) == len(samples)


def test_positives_are_those_of_both_days(spark, grown):
    config, _, _ = grown
    keys = [
        {row["id"]: row["key"] for row in tables.read(spark, config.table(name)).collect()}
        for name in ("users", "items")
    ]
    domains = {row["domain_id"]: row["domain_key"] for row in tables.read(spark, config.table("domains")).collect()}
    found = {
        (domains[row["domain_id"]], keys[0][row["user_id"]], keys[1][row["item_id"]])
        for row in tables.read(spark, config.table("samples")).where("label = 1").collect()
    }
    rows = [row for row in day_one() + day_two() if row[1]]
    if config.data.columns.label:
        last = {row[:3]: row[3] for row in rows}
        rows = [pair for pair, label in last.items() if label]
    assert found == {row[:3] for row in rows}


def test_domains_that_are_known_stay_where_they_were_planned(spark, grown):
    config, before, _ = grown
    now = rows_of(spark, config, "domains", "domain_id")
    for row in before["domains"]:
        assert [now[row["domain_id"]][name] for name in growth.PLAN] == [row[name] for name in growth.PLAN]


def test_domains_count_what_their_samples_are_now(spark, grown):
    config, _, _ = grown
    samples = tables.read(spark, config.table("samples")).collect()
    for row in tables.read(spark, config.table("domains")).collect():
        own = [sample for sample in samples if sample["domain_id"] == row["domain_id"]]
        assert row["rows"] == len(own)
        assert row["users"] == len({sample["user_id"] for sample in own})
        assert row["items"] == len({sample["item_id"] for sample in own})
        assert row["rows_train"] == sum(sample["split"] == "train" for sample in own)
        first = row["first_bucket"]
        assert {sample["bucket"] for sample in own} <= set(range(first, first + row["buckets"]))


def test_same_rows_again_change_nothing(spark, grown):
    config, _, _ = grown
    before = versions(config)
    summary = build(spark, config)
    assert versions(config) == before
    assert summary["rows_kept"] == 0
    assert summary["rows_in"] == summary["rows_duplicate"] + summary["rows_rejected"]


@pytest.mark.parametrize("grown", ["labelled"], indirect=True)
def test_build_that_was_cut_off_is_taken_back_and_done_again(spark, grown, tmp_path, monkeypatch):
    """Else ids that it gave to domains would be given to others."""
    config = grown[0]
    shutil.copytree(f"{config.root}/of day one", tmp_path / "tables")
    shutil.copytree(config.data.path, tmp_path / "log")
    data = replace(config.data, path=str(tmp_path / "log"))
    config = replace(config, root=str(tmp_path), data=data)

    def fail(*_):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(growth, "_describe", fail)
        with pytest.raises(OSError, match="no space left"):
            build(spark, config)
    write(tmp_path / "log", "3.csv", [(f"new domain {n}", "u1", "i1", 1, 200) for n in range(9)])
    build(spark, config)
    named = {row["domain_id"]: row["domain_key"] for row in tables.read(spark, config.table("domains")).collect()}
    samples = tables.read(spark, config.table("samples")).collect()
    expected = Counter(row[0] for row in {row[:3] for row in day_one() + day_two() if row[1]})
    found = Counter(named[row["domain_id"]] for row in samples)
    assert found == expected + Counter(f"new domain {n}" for n in range(9))


def test_of_a_delta_log_only_what_later_versions_added_is_read(spark, tmp_path, make_config):
    log, schema = str(tmp_path / "my log %"), "domain STRING, user STRING, item STRING, label INT, time INT"
    config = make_config("delta", log, *SETTINGS, LABELLED)
    spark.createDataFrame(day_one(), schema).write.format("delta").save(log)
    build(spark, config)
    late = ("tail 1", "u7", "late item", 1, 3)
    spark.createDataFrame([late], schema).write.format("delta").mode("append").save(log)
    summary = build(spark, config)
    assert (summary["rows_in"], summary["rows_kept"]) == (1, 1)
    assert build(spark, config)["rows_in"] == 0


@pytest.mark.parametrize("labelled", [True, False])
def test_split_by_time_puts_later_rows_and_their_negatives_into_later_splits(spark, tmp_path, make_config, labelled):
    rows = [("a", f"u{n % 3}", f"i{n}", 1, time) for n, time in enumerate([1, 5, 9, 10, 15, 19, 20, 25])]
    write(tmp_path / "log", "1.csv", [*rows, ("a", "u1", "i99", 1, "")])
    settings = ["data.columns.time=time", "data.split_at=[10,20]", *([LABELLED] if labelled else [])]
    config = make_config("csv", tmp_path / "log", *settings)
    summary = build(spark, config)
    assert summary["rows_rejected"] == 1
    items = {row["id"]: row["key"] for row in tables.read(spark, config.table("items")).collect()}
    samples = tables.read(spark, config.table("samples")).collect()
    split = {items[row["item_id"]]: row["split"] for row in samples if row["label"] == 1}
    expected = ["train"] * 3 + ["val"] * 3 + ["test"] * 2
    assert [split[f"i{n}"] for n in range(8)] == expected
    if not labelled:
        positives = Counter((row["user_id"], row["split"]) for row in samples if row["label"] == 1)
        negatives = Counter((row["user_id"], row["split"]) for row in samples if row["label"] == 0)
        assert set(negatives) == set(positives)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data.until=10"], "data.until needs the times of the rows: set data.columns.time"),
        (["data.until=soon"], "a number or a timestamp"),
        (["data.split_at=[1]"], "two times"),
    ],
)
def test_times_that_cannot_be_used_are_refused(spark, tmp_path, make_config, settings, message):
    write(tmp_path / "log", "1.csv", day_one())
    with pytest.raises(UserError, match=message):
        build(spark, make_config("csv", tmp_path / "log", *settings))


def test_until_takes_the_rows_before_a_time_and_the_next_build_goes_on_there(spark, tmp_path, make_config):
    write(tmp_path / "log", "1.csv", day_one() + day_two())
    day = make_config("csv", tmp_path / "log", *SETTINGS, LABELLED, "data.until=1970-01-01T00:01:40")
    assert build(spark, day)["rows_in"] == len(day_one())
    rest = make_config("csv", tmp_path / "log", *SETTINGS, LABELLED, f"root={day.root}")
    assert build(spark, rest)["rows_in"] == len(day_two()) + 1


def test_other_features_than_those_of_the_tables_are_refused(spark, grown):
    config, _, _ = grown
    config = replace(config, data=replace(config.data, features={"age": FeatureConfig(kind="dense")}))
    with pytest.raises(UserError, match=r"have other data.features \(none\) and cannot grow"):
        build(spark, config)


@pytest.mark.parametrize("grown", ["labelled"], indirect=True)
@pytest.mark.parametrize("source", ["csv", "amazon"])
def test_logs_that_tell_several_samples_of_a_pair_apart_are_refused(spark, grown, tmp_path, make_config, source):
    settings = ["data.incremental=true", "data.ctr_ratio=0.5", f"root={grown[0].root}"]
    before = versions(grown[0])
    if source == "csv":
        write(tmp_path / "log", "1.csv", [("a", "u1", "i1", 1, 1), ("a", "u1", "i1", 1, 2)])
        settings.append("data.columns.event=time")
    else:
        reviews = [{"reviewerID": "u1", "asin": "i1", "overall": stars, "unixReviewTime": 1} for stars in (1, 5)]
        (tmp_path / "log").mkdir()
        (tmp_path / "log" / "a_5.json.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, reviews)).encode()))
    with pytest.raises(UserError, match="several samples of a user and an item .* cannot grow"):
        build(spark, make_config(source, tmp_path / "log", *settings))
    assert versions(grown[0]) == before
