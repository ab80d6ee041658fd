"""Tests parsing, rejects and duplicates."""

import json

import pytest
from chispa import assert_df_equality
from pyspark.sql import functions as F

from pipelines.samples.cleaning import deduplicate, parse, rejects

RAW = "user STRING, item STRING, domain STRING, label STRING, time STRING, _malformed STRING"
FAULTS = "label DOUBLE, time DOUBLE, column STRING, reason STRING"
PARSED = (
    "user STRING, item STRING, domain STRING, label DOUBLE, time DOUBLE, event STRING, row STRING, "
    "column STRING, reason STRING"
)


def good(label, time, event=None, user="u1"):
    return (user, "i1", "a", label, time, event, "{}", None, None)


def test_each_fault_is_reported_with_column_and_reason(spark):
    raw = [
        ("u1", "i1", "a", "1", "5", None),
        (None, "i1", "a", "1", "5", None),
        ("u1", None, "a", "1", "5", None),
        ("u1", "i1", None, "1", "5", None),
        ("u1", "i1", "a", None, "5", None),
        ("u1", "i1", "a", "x", "5", None),
        ("u1", "i1", "a", "NaN", "5", None),
        ("u1", "i1", "a", "1", "soon", None),
        ("u1", "i1", "a", "1", "NaN", None),
        ("u1", None, None, None, None, "u1"),
        (None, "i1", "a", "x", "soon", None),
    ]
    expected = [
        (1.0, 5.0, None, None),
        (1.0, 5.0, "user", "null"),
        (1.0, 5.0, "item", "null"),
        (1.0, 5.0, "domain", "null"),
        (None, 5.0, "label", "null"),
        (None, 5.0, "label", "not a number"),
        (None, 5.0, "label", "not a number"),
        (1.0, None, "time", "not a number or timestamp"),
        (1.0, None, "time", "not a number or timestamp"),
        (None, None, "line", "malformed"),
        (None, None, "user", "null"),
    ]
    parsed = parse(spark.createDataFrame(raw, RAW)).select("label", "time", "column", "reason")
    assert_df_equality(parsed, spark.createDataFrame(expected, FAULTS), ignore_nullable=True)


def test_time_is_a_number_or_a_utc_timestamp_or_null(spark):
    times = ["86400", "1970-01-02", "1970-01-02 00:00:00.5", "1970-01-02T02:00:00+02:00", None]
    raw = spark.createDataFrame([("u1", "i1", "a", "1", time, None) for time in times], RAW)
    expected = [(86400.0, None), (86400.0, None), (86400.5, None), (86400.0, None), (None, None)]
    assert_df_equality(
        parse(raw).select("time", "reason"), spark.createDataFrame(expected, "time DOUBLE, reason STRING")
    )


def test_threshold_turns_numbers_into_labels_and_keeps_faults(spark):
    raw = spark.createDataFrame([("u1", "i1", "a", v, None, None) for v in ("4", "3.5", "x", "NaN")], RAW)
    expected = [(1.0, None), (0.0, None), (None, "not a number"), (None, "not a number")]
    assert_df_equality(
        parse(raw, positive_at=4.0).select("label", "reason"),
        spark.createDataFrame(expected, "label DOUBLE, reason STRING"),
    )


def test_rows_of_a_log_without_labels_are_positives(spark):
    raw = spark.createDataFrame([("u1", "i1", "a", None)], "user STRING, item STRING, domain STRING, _malformed STRING")
    parsed = parse(raw).select("label", "time", "event", "reason")
    expected = spark.createDataFrame(
        [(1.0, None, None, None)], "label DOUBLE, time DOUBLE, event STRING, reason STRING"
    )
    assert_df_equality(parsed, expected, ignore_nullable=True)


def test_keys_stay_as_written(spark):
    raw = spark.createDataFrame([("007", "12x", "b/c d", "1", None, None)], RAW)
    expected = spark.createDataFrame([("007", "12x", "b/c d")], "user STRING, item STRING, domain STRING")
    assert_df_equality(parse(raw).select("user", "item", "domain"), expected)


def test_split_of_the_log_is_kept_and_other_words_rejected(spark):
    rows = [("u", "i", "d", split, None) for split in ("train", "val", "test", "dev", None)]
    raw = spark.createDataFrame(rows, "user STRING, item STRING, domain STRING, split STRING, _malformed STRING")
    fault = ("split", "not train, val or test")
    expected = [("train", None, None), ("val", None, None), ("test", None, None), ("dev", *fault), (None, *fault)]
    parsed = parse(raw).select("split", "column", "reason")
    assert_df_equality(parsed, spark.createDataFrame(expected, "split STRING, column STRING, reason STRING"))


def test_rejects_hold_the_raw_row_of_bad_rows_only(spark):
    raw = spark.createDataFrame([("u1", "i1", "a", "1", None, None), ("u1", "i1", "a", "1.0.0", "7", None)], RAW)
    [reject] = rejects(parse(raw)).collect()
    assert json.loads(reject["row"]) == {
        "user": "u1",
        "item": "i1",
        "domain": "a",
        "label": "1.0.0",
        "time": "7",
    }
    assert (reject["column"], reject["reason"]) == ("label", "not a number")


@pytest.mark.parametrize(
    ("rows", "label"),
    [
        ([good(1.0, 1.0), good(0.0, 2.0)], 0.0),
        ([good(0.0, 2.0), good(1.0, 1.0)], 0.0),
        ([good(0.0, 1.0), good(1.0, 1.0)], 1.0),
        ([good(0.0, 1.0), good(1.0, None)], 0.0),
        ([good(0.0, None), good(1.0, None)], 1.0),
        ([good(0.0, -1.0), good(1.0, None)], 0.0),
    ],
    ids=["latest", "latest first", "tie", "no time is the earliest", "no times", "before the epoch"],
)
def test_latest_duplicate_is_kept_and_ties_take_the_larger_label(spark, rows, label):
    parsed = spark.createDataFrame(rows, PARSED)
    expected = spark.createDataFrame(
        [("a", "u1", "i1", label, 2)], "domain STRING, user STRING, item STRING, label DOUBLE, copies BIGINT"
    )
    for log in (parsed, parsed.withColumn("split", F.lit("train"))):
        assert_df_equality(deduplicate(log).drop("time", "split"), expected, ignore_nullable=True)


def test_rows_with_different_events_are_separate_samples(spark):
    rows = [good(1.0, 1.0, "5.0"), good(1.0, 2.0, "5.0"), good(1.0, 1.0, "4.0")]
    expected = [("a", "u1", "i1", 2.0, 1.0, 2), ("a", "u1", "i1", 1.0, 1.0, 1)]
    assert_df_equality(
        deduplicate(spark.createDataFrame(rows, PARSED)),
        spark.createDataFrame(
            expected, "domain STRING, user STRING, item STRING, time DOUBLE, label DOUBLE, copies BIGINT"
        ),
        ignore_nullable=True,
        ignore_row_order=True,
    )


def test_each_row_is_kept_rejected_or_duplicate(spark):
    raw = [
        ("u1", "i1", "a", "1", "1", None),
        ("u1", "i1", "a", "0", "2", None),
        ("u1", "i1", "b", "0", "2", None),
        (None, "i1", "a", "1", "1", None),
        ("u1", "i1", "a", "", "1", None),
    ]
    parsed = parse(spark.createDataFrame(raw, RAW))
    clean = deduplicate(parsed).collect()
    copies = sum(row["copies"] for row in clean)
    assert (len(clean), copies - len(clean), rejects(parsed).count()) == (2, 1, 2)
