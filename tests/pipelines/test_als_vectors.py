"""Learns vectors by ALS from training positives, and trains a model with them as frozen features."""

from dataclasses import dataclass

import numpy as np
import pytest
from chispa import assert_df_equality

from pipelines.als_vectors import als_vectors, training_positives
from training.config import Config
from training.data.frozen_vectors import load_vectors
from training.data.snapshot import take_snapshot
from training.train import train


def test_only_training_positives_count(spark):
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


@dataclass(frozen=True)
class Vectors:
    """Learned vectors: a config whose model uses them, and the summary of the job."""

    config: Config
    summary: dict


@pytest.fixture(scope="module")
def learned(spark, built, tmp_path_factory):
    root = built.copy(tmp_path_factory.mktemp("als"))
    path = root.removeprefix("root=")
    vectors = [f"model.{name}_vectors={path}/tables/{name}_vectors" for name in ("user", "item")]
    config = built.config(root, "als.rank=4", *vectors)
    return Vectors(config, als_vectors(spark, config))


def test_users_and_items_with_a_training_positive_have_a_vector(spark, learned):
    config, summary = learned.config, learned.summary
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
    is_positive = np.zeros(scores.shape, bool)
    is_positive[rows["user_id"], rows["item_id"]] = True
    assert scores[is_positive].mean() > scores[~is_positive].mean() + 0.3


def test_trainer_uses_the_vectors_frozen(learned):
    assert train(learned.config)["best_epoch"] > 0


def test_vectors_do_not_depend_on_validation_and_test_rows(spark, learned):
    config = learned.config
    before = load_vectors(config)
    samples = spark.read.format("delta").load(config.table("samples"))
    samples.where("split = 'train'").write.format("delta").mode("overwrite").save(config.table("samples"))
    als_vectors(spark, config)
    for name, vectors in load_vectors(config).items():
        np.testing.assert_allclose(vectors, before[name], atol=1e-5)
