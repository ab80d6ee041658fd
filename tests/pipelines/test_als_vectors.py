"""Vectors by ALS: out of training positives alone, of every user and item that has one, and frozen features then."""

import numpy as np
import pytest
from chispa import assert_df_equality

from pipelines.als_vectors import als_vectors, training_positives
from training.data.frozen_vectors import load_vectors
from training.data.snapshot import take_snapshot
from training.train import train


def test_only_positives_of_the_training_rows_count(spark):
    columns = "split STRING, domain_id INT, user_id BIGINT, item_id BIGINT, label FLOAT"
    samples = spark.createDataFrame(
        [
            ("train", 1, 0, 5, 1.0),
            ("train", 2, 0, 5, 1.0),
            ("train", 1, 0, 6, 0.0),
            ("val", 1, 0, 8, 1.0),
            ("test", 1, 0, 7, 1.0),
        ],
        columns,
    )
    expected = spark.createDataFrame([(0, 5, 2.0)], "user_id BIGINT, item_id BIGINT, count FLOAT")
    assert_df_equality(training_positives(samples), expected, ignore_nullable=True)


@pytest.fixture(scope="module")
def made(spark, built, tmp_path_factory):
    """(config with the vectors named, summary)."""
    root = built.copy(tmp_path_factory.mktemp("als"))
    path = root.removeprefix("root=")
    vectors = [f"model.{name}_vectors={path}/tables/{name}_vectors" for name in ("user", "item")]
    config = built.config(root, "als.rank=4", *vectors)
    return config, als_vectors(spark, config)


def test_users_and_items_with_a_training_positive_have_a_vector(spark, made):
    config, summary = made
    positives = spark.read.format("delta").load(config.table("samples")).where("split = 'train' AND label = 1")
    assert summary["users"] == positives.select("user_id").distinct().count()
    assert summary["items"] == positives.select("item_id").distinct().count()
    assert summary["positives"] == positives.select("user_id", "item_id").distinct().count()
    vectors = load_vectors(config)
    sizes = take_snapshot(config).schema.sizes
    assert {name: tuple(table.shape) for name, table in vectors.items()} == {
        name: (sizes[name], 4) for name in ("user_id", "item_id")
    }
    scores = vectors["user_id"].numpy() @ vectors["item_id"].numpy().T
    rows = positives.select("user_id", "item_id").toPandas()
    met = np.zeros(scores.shape, bool)
    met[rows["user_id"], rows["item_id"]] = True
    assert scores[met].mean() > scores[~met].mean() + 0.3


def test_the_trainer_takes_them_frozen(made):
    config, _ = made
    assert train(config)["best_epoch"] > 0


def test_without_validation_and_test_rows_the_vectors_are_the_same(spark, made):
    config, _ = made
    before = load_vectors(config)
    samples = spark.read.format("delta").load(config.table("samples"))
    samples.where("split = 'train'").write.format("delta").mode("overwrite").save(config.table("samples"))
    als_vectors(spark, config)
    for name, vectors in load_vectors(config).items():
        np.testing.assert_allclose(vectors, before[name], atol=1e-5)
