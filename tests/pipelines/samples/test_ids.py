"""Tests dense ids and running totals."""

from chispa import assert_df_equality
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.samples.ids import SLICES, dense_ids, replace_keys, with_running_total

KEYS = [f"k{number}" for number in range(300)] + ["007", "7", "12x", "b/c d", "ä", ""]


def test_ids_are_dense_and_independent_of_partitioning(spark, shuffle_partitions):
    log = spark.createDataFrame([(key,) for key in KEYS + KEYS[::-2]], "user STRING")
    results = []
    for partitions in (1, 2, 7):
        shuffle_partitions(partitions)
        ids = dense_ids(log.repartition(partitions, "user"), "user", DataFrame.persist)
        assert ids.dtypes == [("key", "string"), ("id", "bigint")]
        results.append(sorted(map(tuple, ids.collect())))
    assert results[0] == results[1] == results[2]
    assert sorted(key for key, _ in results[0]) == sorted(KEYS)
    assert sorted(number for _, number in results[0]) == list(range(len(KEYS)))


def test_running_total_equals_that_of_a_plain_loop(spark):
    frame = spark.createDataFrame(
        [(key, index * index % 17) for index, key in enumerate(KEYS)], "key STRING, value BIGINT"
    )
    slices = frame.select("key", "value", F.pmod(F.xxhash64("key"), F.lit(SLICES)).alias("slice")).collect()
    expected, total = [], 0
    for row in sorted(slices, key=lambda row: (row["slice"], row["key"])):
        expected.append((row["key"], row["value"], total))
        total += row["value"]
    assert len({row["slice"] for row in slices}) < len(KEYS), "no two keys share a slice"
    assert_df_equality(
        with_running_total(frame, "key", F.col("value"), "before"),
        spark.createDataFrame(expected, "key STRING, value BIGINT, before BIGINT"),
        ignore_row_order=True,
        ignore_nullable=True,
    )


def test_running_total_of_an_empty_frame_is_empty(spark):
    empty = spark.createDataFrame([], "key STRING, value BIGINT")
    assert with_running_total(empty, "key", F.col("value"), "before").count() == 0


def test_keys_are_replaced_by_ids(spark):
    log = spark.createDataFrame(
        [("b/c d", "007", "x", 1.0, 1)],
        "domain STRING, user STRING, item STRING, label DOUBLE, copies BIGINT",
    )
    domains, users, items = (
        spark.createDataFrame(rows, "key STRING, id BIGINT")
        for rows in ([("b/c d", 3)], [("7", 0), ("007", 1)], [("x", 5)])
    )
    expected = spark.createDataFrame([(3, 1, 5, 1.0)], "domain_id INT, user_id BIGINT, item_id BIGINT, label FLOAT")
    assert_df_equality(replace_keys(log, domains, users, items), expected, ignore_nullable=True)
