"""Tests which rows of a log an incremental build reads, how it undoes an unfinished build, and what it refuses."""

import gzip
import json
import shutil
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pipelines.build_domains import build
from pipelines.engine import tables
from pipelines.samples.incremental import add_rows
from tests.support.two_days import day_one, day_two
from training.config import Config
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
    """Writes a CSV file of (domain, user, item, label, time) rows."""
    folder.mkdir(exist_ok=True)
    lines = [",".join(map(str, row)) for row in rows]
    (folder / name).write_text("\n".join(["domain,user,item,label,time", *lines, ""]))


def versions(config):
    return {name: tables.version(config.table(name)) for name in TABLES}


@dataclass(frozen=True)
class FirstDay:
    """A build of the first day of a log: its config and its summary."""

    config: Config
    summary: dict


@pytest.fixture(scope="module")
def first_day(spark, tmp_path_factory, make_config):
    """Builds the first day of a log of two days."""
    log = tmp_path_factory.mktemp("days") / "log"
    write(log, "1.csv", day_one() + day_two())
    config = make_config("csv", log, *SETTINGS, LABELLED, "data.until=1970-01-01T00:01:40")
    return FirstDay(config, build(spark, config))


def test_until_chooses_the_rows_before_a_time(first_day):
    assert first_day.summary["rows_in"] == len(day_one())


def test_next_build_reads_later_rows_and_undoes_an_unfinished_one(spark, first_day, tmp_path, monkeypatch):
    """Otherwise ids of domains in the unfinished build would be assigned twice."""
    config = first_day.config
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
    keys = {row["domain_id"]: row["domain_key"] for row in tables.read(spark, config.table("domains")).collect()}
    counts = Counter(keys[row["domain_id"]] for row in tables.read(spark, config.table("samples")).collect())
    rows = {row[:3] for row in day_one() + day_two() + late if row[1]}
    assert counts == Counter(row[0] for row in rows)


def test_only_new_files_of_a_delta_log_are_read(spark, tmp_path, make_config):
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
def test_split_by_time_applies_to_negatives_too(spark, tmp_path, make_config, labelled):
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
def test_unusable_times_are_refused(spark, tmp_path, make_config, settings, message):
    write(tmp_path / "log", "1.csv", day_one())
    with pytest.raises(UserError, match=message):
        build(spark, make_config("csv", tmp_path / "log", *settings))


@pytest.mark.parametrize("source", ["csv", "amazon"])
def test_logs_with_events_are_refused(spark, first_day, tmp_path, make_config, source):
    settings = ["data.incremental=true", "data.ctr_ratio=0.5", f"root={first_day.config.root}"]
    before = versions(first_day.config)
    if source == "csv":
        write(tmp_path / "log", "1.csv", [("a", "u1", "i1", 1, 1), ("a", "u1", "i1", 1, 2)])
        settings.append("data.columns.event=time")
    else:
        reviews = [{"reviewerID": "u1", "asin": "i1", "overall": stars, "unixReviewTime": 1} for stars in (1, 5)]
        (tmp_path / "log").mkdir()
        (tmp_path / "log" / "a_5.json.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, reviews)).encode()))
    with pytest.raises(UserError, match="several samples of a user and an item .* rows cannot be added"):
        build(spark, make_config(source, tmp_path / "log", *settings))
    assert versions(first_day.config) == before
