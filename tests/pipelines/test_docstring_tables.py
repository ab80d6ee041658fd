"""Runs the tables in the docstrings of Spark's steps: each function gets the first table and must return the last."""

from pyspark.sql import functions as F

from pipelines.als_vectors import training_positives
from pipelines.evaluate import summarise
from pipelines.samples import bucket_plan, cleaning, features, ids
from pipelines.samples.incremental import encoding
from pipelines.serving import promotions
from pipelines.sources.files import MALFORMED
from tests.support.docstring_tables import Table, assert_shows, tables_of
from training.config import DataConfig, FeatureConfig

A_B = [("a", 1), ("b", 2)]  # the vocabulary that docstrings write as {a: 1, b: 2}


def test_tables_side_by_side_are_cut_at_their_headers():
    def function():
        """Shows two tables and a remark.

        | key | value |      | total |      with a remark
        | a   | 2     |  ->  | 5     |
        | b   | null  |
        """

    assert tables_of(function) == [Table(["key", "value"], [["a", "2"], ["b", "null"]]), Table(["total"], [["5"]])]


def test_with_running_total(spark):
    before, after = tables_of(ids.with_running_total)
    frame = before.frame(spark, "key STRING, value INT")
    assert_shows(after, ids.with_running_total(frame, "key", F.col("value"), "name"))


def test_parse(spark):
    raw, parsed = tables_of(cleaning.parse)
    frame = raw.frame(spark, "user STRING, item STRING, domain STRING, label STRING")
    assert_shows(parsed, cleaning.parse(frame.withColumn(MALFORMED, F.lit(None))))


def test_split_by_time(spark):
    before, after = tables_of(cleaning.split_by_time)
    frame = before.frame(spark, "time DOUBLE, reason STRING").withColumn("column", F.lit(None))
    assert_shows(after, cleaning.split_by_time(frame, val_from=10, test_from=20))


def test_deduplicate(spark):
    before, after = tables_of(cleaning.deduplicate)
    frame = before.frame(spark, "domain STRING, user STRING, item STRING, label DOUBLE, time DOUBLE")
    assert_shows(after, cleaning.deduplicate(frame.withColumns({"event": F.lit(None), "reason": F.lit(None)})))


def test_plan_buckets(spark):
    [plan] = tables_of(bucket_plan.plan_buckets)
    rows = [(key, int(row[0])) for key, row in zip(keys_in_order(spark, len(plan.rows)), plan.rows, strict=True)]
    domains = spark.createDataFrame(rows, "domain_key STRING, rows BIGINT")
    without_middle = Table([*plan.columns[:2], *plan.columns[3:]], [[*row[:2], *row[3:]] for row in plan.rows])
    assert_shows(without_middle, bucket_plan.plan_buckets(domains, DataConfig(bucket_rows=10, head_rows=5)))


def keys_in_order(spark, count):
    """Returns keys in the order in which `with_running_total` adds them up."""
    keys = spark.createDataFrame([(f"key {number}",) for number in range(count)], "key STRING")
    ordered = ids.with_running_total(keys, "key", F.lit(1), "position").orderBy("position")
    return [row["key"] for row in ordered.collect()]


def test_latest_values(spark):
    rows, values = tables_of(features.latest_values)
    frame = rows.frame(spark, "user STRING, time DOUBLE, city STRING, genres ARRAY<STRING>")
    assert_shows(values, features.latest_values(frame, "user", ["city", "genres"]))


def test_encode_features(spark):
    values, numbers = tables_of(features.encode_features)
    frame = values.frame(spark, "genres ARRAY<STRING>, age DOUBLE")
    configs = {"genres": FeatureConfig(kind="list", length=2), "age": FeatureConfig(kind="dense")}
    keys = {"genres": spark.createDataFrame(A_B, "key STRING, id BIGINT")}
    assert_shows(numbers, features.encode_features(frame, configs, keys, {"age": (30.0, 10.0)}))


def test_list_ids(spark):
    lists, with_ids = tables_of(features._list_ids)
    keys = spark.createDataFrame(A_B, "key STRING, id BIGINT")
    assert_shows(with_ids, features._list_ids(lists.frame(spark, "genres ARRAY<STRING>"), keys))


def test_pad_sequences(spark):
    samples, padded = tables_of(features.pad_sequences)
    frame = samples.frame(spark, "item_id BIGINT, history ARRAY<BIGINT>, history_length INT")
    assert_shows(padded, features.pad_sequences(frame, {"history": FeatureConfig(kind="sequence", length=3)}))


def test_updated_owners(spark):
    stored, new, encoded, updated = tables_of(encoding.updated_owners)
    frames = (
        stored.frame(spark, "key STRING, id BIGINT, age FLOAT"),
        new.frame(spark, "key STRING, id BIGINT"),
        encoded.frame(spark, "key STRING, age FLOAT, _has_age BOOLEAN"),
    )
    assert_shows(updated, encoding.updated_owners(*frames, {"age": FeatureConfig(kind="dense")}))


def test_training_positives(spark):
    samples, counts = tables_of(training_positives)
    frame = samples.frame(spark, "split STRING, user_id BIGINT, item_id BIGINT, label FLOAT, domain_id INT")
    assert_shows(counts, training_positives(frame))


def test_summarise(spark):
    by_domain, summary = tables_of(summarise)
    overall = spark.createDataFrame([("dn", -1, 50)], "model STRING, domain_id INT, rows BIGINT")
    assert_shows(summary, summarise(by_domain.frame(spark, "model STRING, rows BIGINT, auc DOUBLE"), overall))


def test_current_promotions(spark):
    decisions, in_force = tables_of(promotions.current)
    frame = decisions.frame(spark, "domain_key STRING, promoted BOOLEAN, model STRING")
    assert_shows(in_force, spark.createDataFrame(promotions.current(frame.collect()), frame.schema))
