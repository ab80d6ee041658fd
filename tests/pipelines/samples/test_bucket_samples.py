"""Tests how the samples of a bucket are made."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.samples.bucket_plan import assign_buckets, count_samples, plan_buckets
from pipelines.samples.bucket_samples import SCHEMA, finish_bucket, make_samples, splits_of_negatives, whole_buckets
from pipelines.samples.splits import OPEN
from training.config import DataConfig

LOG = "domain_id INT, user_id BIGINT, item_id BIGINT, label FLOAT"
SHARES = [0.6, 0.2, 0.2]


def table_of(rows):
    names = ("domain_id", "user_id", "item_id", "label", "bucket", "ctr_ratio")
    types = (pa.int32(), pa.int64(), pa.int64(), pa.float32(), pa.int32(), pa.float64())
    columns = zip(*rows, strict=True)
    return pa.table({n: pa.array(c, t) for n, c, t in zip(names, columns, types, strict=True)})


@dataclass(frozen=True)
class HeadDomain:
    """A domain in several buckets: its plan and its samples."""

    plan: DataFrame
    samples: DataFrame


@pytest.fixture(scope="module")
def head(spark):
    """Builds a domain of 24 users, each with a different positive item, that fills several buckets.

    The ratio is so small that each user gets all other items as negatives.
    """
    log = spark.createDataFrame([(0, user, user, 1.0) for user in range(24)], LOG)
    domains = spark.createDataFrame([(0, "a", 0.01)], "domain_id INT, domain_key STRING, ctr_ratio DOUBLE")
    data = DataConfig(source="csv", path="log.csv", bucket_rows=150)
    plan = plan_buckets(count_samples(log, domains, labelled=False), data).cache()
    samples = make_samples(assign_buckets(log, plan, labelled=False), data, 0, labelled=False).cache()
    return HeadDomain(plan, samples)


def test_head_domain_draws_negatives_from_all_its_items(head):
    assert head.plan.first()["buckets"] == 4
    assert head.samples.select("bucket").distinct().count() > 1
    users = head.samples.groupBy("user_id").agg(F.count("*"), F.countDistinct("item_id"), F.sum("label"))
    assert {tuple(row)[1:] for row in users.collect()} == {(24, 24, 1.0)}


def test_sampler_makes_as_many_rows_as_planned(head):
    assert head.plan.first()["rows"] == head.samples.count() == 24 * 24


def test_negatives_are_in_the_bucket_of_their_user(head):
    buckets = head.samples.groupBy("user_id").agg(F.countDistinct("bucket").alias("count"))
    assert buckets.where("count > 1").count() == 0


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_negatives_follow_the_splits_of_the_users_positives(order):
    positives = np.array([(0, 1, 5, 0), (0, 1, 7, 2), (0, 2, 5, 1), (3, 1, 5, 2)])[order].T
    negatives = np.array([(0, 1), (0, 1), (3, 1), (0, 2), (0, 1), (0, 1), (3, 1)]).T
    assert splits_of_negatives(*positives, *negatives).tolist() == [0, 0, 2, 1, 2, 2, 2]
    positives[3] = OPEN
    assert splits_of_negatives(*positives, *negatives).tolist() == [OPEN] * 7


def test_labelled_log_keeps_its_labels_and_gets_no_negatives(spark):
    log = [(0, 1, 10, 1.0), (0, 1, 11, 0.0), (1, 2, 10, 0.0)]
    rows = spark.createDataFrame([(*row, 0, None) for row in log], f"{LOG}, bucket INT, ctr_ratio DOUBLE")
    data = DataConfig(source="csv", path="log.csv")
    expected = spark.createDataFrame([(*row, 0, "train") for row in log], SCHEMA)
    assert_df_equality(
        make_samples(rows, data, 0, labelled=True), expected, ignore_row_order=True, ignore_nullable=True
    )


def test_plan_holds_for_any_ratio_and_repeated_pairs(spark):
    log = spark.createDataFrame(
        [(d, u, (u * i + d) % 7, 1.0) for d in range(4) for u in range(6) for i in range(d + 1)], LOG
    )
    ratios = [(0, "a", 0.21), (1, "b", 0.32), (2, "c", 0.5), (3, "d", 1.0)]
    domains = spark.createDataFrame(ratios, "domain_id INT, domain_key STRING, ctr_ratio DOUBLE")
    data = DataConfig(source="csv", path="log.csv", bucket_rows=20)
    plan = plan_buckets(count_samples(log, domains, labelled=False), data).cache()
    samples = make_samples(assign_buckets(log, plan, labelled=False), data, 3, labelled=False, events=True)
    assert log.count() > log.distinct().count()
    assert_df_equality(
        samples.groupBy("domain_id").agg(F.count("*").alias("rows")),
        plan.select("domain_id", "rows"),
        ignore_row_order=True,
        ignore_nullable=True,
    )


@pytest.mark.parametrize("rows_a_batch", [1, 2, 3, 9])
def test_stream_of_rows_is_cut_into_buckets(rows_a_batch):
    rows = table_of([(0, user, 0, 1.0, bucket, None) for user, bucket in enumerate([0, 0, 0, 2, 3, 3, 3])])
    empty = rows.slice(0, 0).to_batches(1) or [pa.RecordBatch.from_pylist([], rows.schema)]
    buckets = list(whole_buckets([*empty, *rows.to_batches(rows_a_batch), *empty]))
    assert [set(bucket["bucket"].to_pylist()) for bucket in buckets] == [{0}, {2}, {3}]
    assert pa.concat_tables(buckets).combine_chunks() == rows


def test_bucket_without_users_has_no_samples():
    pool = table_of([(0, None, item, None, 1, 0.5) for item in (10, 11)])
    assert finish_bucket(pool, SHARES, 0, labelled=False).num_rows == 0


def test_rows_of_the_item_pool_are_not_samples():
    rows = [(0, 1, 10, 1.0, 0, 0.5), (0, None, 10, None, 0, 0.5), (0, None, 11, None, 0, 0.5)]
    made = finish_bucket(table_of(rows), SHARES, 0, labelled=False)
    assert sorted(zip(*made.select(["user_id", "item_id", "label"]).to_pydict().values(), strict=True)) == [
        (1, 10, 1.0),
        (1, 11, 0.0),
    ]


def test_ids_may_exceed_32_bits():
    big = 2**53 + 1
    rows = [(0, big, big + 2, 1.0, 0, 0.5), (0, big + 1, big + 3, 1.0, 0, 0.5)]
    made = finish_bucket(table_of(rows), SHARES, 0, labelled=False)
    pairs = set(zip(made["user_id"].to_pylist(), made["item_id"].to_pylist(), strict=True))
    assert pairs == {(big + user, big + item) for user in (0, 1) for item in (2, 3)}
