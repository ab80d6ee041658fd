"""Of a log that grows, which rows a build reads, and what it makes of a build that was cut off; what cannot grow."""

import gzip
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.build_domains import build
from pipelines.engine import tables
from pipelines.samples.incremental import add_rows
from tests.support.two_days import day_one, day_two
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


def versions(config):
    return {name: tables.version(config.table(name)) for name in TABLES}


@pytest.fixture(scope="module")
def until(spark, tmp_path_factory, make_config):
    """(config, summary) of the build of the first day in a log of two days."""
    log = tmp_path_factory.mktemp("days") / "log"
    write(log, "1.csv", day_one() + day_two())
    config = make_config("csv", log, *SETTINGS, LABELLED, "data.until=1970-01-01T00:01:40")
    return config, build(spark, config)


def test_until_takes_the_rows_before_a_time(until):
    assert until[1]["rows_in"] == len(day_one())


def test_the_next_build_goes_on_there_and_where_it_is_cut_off_it_is_taken_back(spark, until, tmp_path, monkeypatch):
    """Else ids that it gave to domains would be given to others."""
    config = until[0]
    shutil.copytree(f"{config.root}/tables", tmp_path / "tables")
    config = replace(config, root=str(tmp_path), data=replace(config.data, until=None))

    def fail(*_):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(add_rows, "describe_changed", fail)
        with pytest.raises(OSError, match="no space left"):
            build(spark, config)
    late = [(f"late domain {n}", "u1", "i1", 1, 200) for n in range(9)]
    write(Path(config.data.path), "2.csv", late)
    assert build(spark, config)["rows_in"] == len(day_two()) + len(late) + 1
    named = {row["domain_id"]: row["domain_key"] for row in tables.read(spark, config.table("domains")).collect()}
    found = Counter(named[row["domain_id"]] for row in tables.read(spark, config.table("samples")).collect())
    rows = {row[:3] for row in day_one() + day_two() + late if row[1]}
    assert found == Counter(row[0] for row in rows)


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


@pytest.mark.parametrize("source", ["csv", "amazon"])
def test_logs_that_tell_several_samples_of_a_pair_apart_are_refused(spark, until, tmp_path, make_config, source):
    settings = ["data.incremental=true", "data.ctr_ratio=0.5", f"root={until[0].root}"]
    before = versions(until[0])
    if source == "csv":
        write(tmp_path / "log", "1.csv", [("a", "u1", "i1", 1, 1), ("a", "u1", "i1", 1, 2)])
        settings.append("data.columns.event=time")
    else:
        reviews = [{"reviewerID": "u1", "asin": "i1", "overall": stars, "unixReviewTime": 1} for stars in (1, 5)]
        (tmp_path / "log").mkdir()
        (tmp_path / "log" / "a_5.json.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, reviews)).encode()))
    with pytest.raises(UserError, match="several samples of a user and an item .* rows cannot be added"):
        build(spark, make_config(source, tmp_path / "log", *settings))
    assert versions(until[0]) == before
