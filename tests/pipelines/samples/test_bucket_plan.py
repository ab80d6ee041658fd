"""Tests the plan: sizes of domains, their buckets, and the bucket of each row."""

import pytest
from chispa import assert_df_equality
from pyspark.sql import functions as F

from pipelines.samples.bucket_plan import assign_buckets, count_samples, ctr_ratio, plan_buckets
from training.config import DataConfig

LOG = "domain_id INT, user_id BIGINT, item_id BIGINT, label FLOAT"
PLAN = "domain_id INT, first_bucket INT, buckets INT, ctr_ratio DOUBLE"


def data_config(**settings):
    return DataConfig(source="csv", path="log.csv", **settings)


@pytest.fixture(scope="module")
def plan(spark):
    """Plans 300 tail domains of 1 to 9 rows and three head domains, with buckets of 50 rows."""
    sizes = [(number, f"d{number}", number % 9 + 1) for number in range(300)]
    sizes += [(300, "one bucket", 11), (301, "b/c d", 120), (302, "exact", 100)]
    domains = spark.createDataFrame(sizes, "domain_id INT, domain_key STRING, rows BIGINT")
    return plan_buckets(domains, data_config(bucket_rows=50, head_rows=9)).collect()


def test_head_domain_gets_rows_by_bucket_rows_buckets(plan):
    heads = {row["domain_key"]: row["buckets"] for row in plan if row["head"]}
    assert heads == {"one bucket": 1, "b/c d": 3, "exact": 2}


def test_tail_domain_fits_in_one_bucket_of_bounded_size(plan):
    tail = [row for row in plan if not row["head"]]
    assert {row["buckets"] for row in tail} == {1}
    sizes = {}
    for row in tail:
        sizes[row["first_bucket"]] = sizes.get(row["first_bucket"], 0) + row["rows"]
    assert max(sizes.values()) <= 50 + 9
    assert sum(sizes.values()) / len(sizes) > 50 - 9


def test_bucket_numbers_have_no_gaps_and_heads_share_none(plan):
    tail = {row["first_bucket"] for row in plan if not row["head"]}
    heads = [row["first_bucket"] + index for row in plan if row["head"] for index in range(row["buckets"])]
    assert sorted([*tail, *heads]) == list(range(len(tail) + 6))


def test_head_domain_has_more_than_head_rows(spark):
    domains = spark.createDataFrame([("a", 5), ("b", 6)], "domain_key STRING, rows BIGINT")
    plan = plan_buckets(domains, data_config(bucket_rows=10)).select("domain_key", "head")
    expected = spark.createDataFrame([("a", False), ("b", True)], "domain_key STRING, head BOOLEAN")
    assert_df_equality(plan, expected, ignore_row_order=True, ignore_nullable=True)


def test_tail_domain_goes_to_the_bucket_of_its_middle_row(spark):
    domains = spark.createDataFrame([("a", 8), ("b", 8)], "domain_key STRING, rows BIGINT")
    plan = plan_buckets(domains, data_config(bucket_rows=10, head_rows=8)).collect()
    assert sorted(row["first_bucket"] for row in plan) == [0, 1]


def test_head_domains_without_tail_domains_start_at_bucket_0(spark):
    domains = spark.createDataFrame([("a", 25)], "domain_key STRING, rows BIGINT")
    [row] = plan_buckets(domains, data_config(bucket_rows=10)).collect()
    assert (row["first_bucket"], row["buckets"]) == (0, 3)


def test_plan_counts_positives_and_capped_negatives(spark):
    log = [(0, 1, 10, 1.0), (0, 1, 10, 1.0), (0, 2, 11, 1.0), (0, 3, 12, 1.0), (1, 1, 10, 1.0)]
    domains = [(0, "a", 0.5), (1, "b", 0.5)]
    # domain 0: user 1 has 2 rows and is due 4, of which 2 items remain; users 2 and 3 get 2 each
    expected = [(0, "a", 0.5, 3, 4 + 2 + 2 + 2, 3), (1, "b", 0.5, 1, 1, 1)]
    assert_df_equality(
        count_samples(
            spark.createDataFrame(log, LOG),
            spark.createDataFrame(domains, "domain_id INT, domain_key STRING, ctr_ratio DOUBLE"),
            labelled=False,
        ),
        spark.createDataFrame(
            expected, "domain_id INT, domain_key STRING, ctr_ratio DOUBLE, items BIGINT, rows BIGINT, users BIGINT"
        ),
        ignore_row_order=True,
        ignore_nullable=True,
    )


def test_plan_of_a_labelled_log_counts_its_rows(spark):
    log = spark.createDataFrame([(0, 1, 10, 1.0), (0, 1, 11, 0.0), (0, 2, 10, 0.0)], LOG)
    domains = spark.createDataFrame([(0, None)], "domain_id INT, ctr_ratio DOUBLE")
    schema = "domain_id INT, ctr_ratio DOUBLE, items BIGINT, rows BIGINT, users BIGINT"
    expected = spark.createDataFrame([(0, None, 2, 3, 2)], schema)
    assert_df_equality(count_samples(log, domains, labelled=True), expected, ignore_nullable=True)


def test_ratio_is_drawn_from_its_range_by_seed_and_domain(spark):
    domains = spark.createDataFrame([(f"d{number}",) for number in range(400)], "domain_key STRING")
    data = data_config(ctr_range=[0.2, 0.5])
    columns = [ctr_ratio(data, seed).alias(name) for seed, name in ((0, "first"), (0, "again"), (1, "other"))]
    rows = domains.select(*columns).collect()
    first = [row["first"] for row in rows]
    assert (min(first), max(first)) == (0.2, 0.5)
    assert len(set(first)) == 31
    assert 0.33 < sum(first) / len(first) < 0.37
    assert first == [row["again"] for row in rows]
    assert first != [row["other"] for row in rows]


def test_configured_ratio_applies_to_every_domain(spark):
    domains = spark.createDataFrame([("a",), ("b",)], "domain_key STRING")
    ratios = domains.select(ctr_ratio(data_config(ctr_ratio=0.32), 0).alias("ratio")).collect()
    assert [row["ratio"] for row in ratios] == [0.32, 0.32]


def test_rows_of_a_user_share_a_bucket_and_users_are_spread(spark):
    log = spark.createDataFrame([(0, user, item, 1.0) for user in range(60) for item in range(3)], LOG)
    plan = spark.createDataFrame([(0, 4, 3, 0.5)], PLAN)
    rows = assign_buckets(log, plan, labelled=True)
    users = rows.groupBy("user_id").agg(F.collect_set("bucket").alias("buckets")).collect()
    assert {len(row["buckets"]) for row in users} == {1}
    counts = {row["bucket"]: row["count"] for row in rows.groupBy("bucket").count().collect()}
    assert set(counts) == {4, 5, 6}
    assert min(counts.values()) >= 30


def test_each_bucket_of_a_head_domain_has_all_its_items(spark):
    log = spark.createDataFrame([(0, 1, 10, 1.0), (0, 1, 10, 1.0), (0, 2, 11, 1.0), (1, 1, 12, 1.0)], LOG)
    plan = spark.createDataFrame([(0, 0, 2, 0.5), (1, 2, 1, 0.4)], PLAN)
    rows = assign_buckets(log, plan, labelled=False)
    pools = [(0, None, item, None, bucket, 0.5) for bucket in (0, 1) for item in (10, 11)]
    expected = spark.createDataFrame(pools, f"{LOG}, bucket INT, ctr_ratio DOUBLE")
    assert_df_equality(rows.where("user_id IS NULL"), expected, ignore_row_order=True, ignore_nullable=True)
    assert rows.where("user_id IS NOT NULL").count() == 4
