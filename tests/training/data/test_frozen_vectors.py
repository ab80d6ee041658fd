"""Tests that frozen vectors are read from Delta tables and aligned with ids."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from training.artifacts.model_store import load_theta
from training.data import frozen_vectors
from training.data.frozen_vectors import load_vectors
from training.errors import UserError
from training.train import train


def test_vectors_are_read_from_a_delta_table_by_key(spark, built, tmp_path):
    keys = spark.read.format("delta").load(built.config().table("users"))
    path = str(tmp_path / "vectors")
    keys.selectExpr("key", "array(cast(key AS float), cast(1 AS float)) AS vector").write.format("delta").save(path)
    config = built.config(f"model.user_vectors={path}", "framework.name=dn")
    vectors = load_vectors(config)
    assert set(vectors) == {"user_id"}
    for row in keys.collect():
        assert vectors["user_id"][row["id"]].tolist() == [float(row["key"]), 1.0]
    folder = Path(train(config)["model_path"])
    keys.selectExpr("key", "array(0f, 0f) AS vector").write.format("delta").mode("overwrite").save(path)
    assert load_vectors(config)["user_id"].tolist() == [[0.0, 0.0]] * 40
    _, theta = load_theta(folder, config)
    assert theta.frozen["embeddings.user_id.weight"].tolist() == vectors["user_id"].tolist()


def test_two_runs_may_align_the_same_vectors_at_once(spark, built, tmp_path, monkeypatch):
    keys = spark.read.format("delta").load(built.config().table("users"))
    path = str(tmp_path / "vectors")
    keys.selectExpr("key", "array(cast(key AS float)) AS vector").write.format("delta").save(path)
    config = built.config(built.copy(tmp_path), f"model.user_vectors={path}")
    write, both = frozen_vectors._write, threading.Barrier(2, timeout=60)

    def write_with_the_other(*arguments):
        write(*arguments)
        both.wait()

    monkeypatch.setattr(frozen_vectors, "_write", write_with_the_other)
    with ThreadPoolExecutor(2) as pool:
        first, second = (vectors["user_id"] for vectors in pool.map(load_vectors, [config, config]))
    assert first.tolist() == second.tolist()
    assert first.any()


@pytest.mark.parametrize(
    ("key", "vector", "message"),
    [
        ("key", "if(key = '3', array(1f), array(1f, 2f))", "all vectors must have one length"),
        ("'user ' || key", "array(1f)", "has a vector for none of the 40 keys"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(spark, built, tmp_path, key, vector, message):
    keys = spark.read.format("delta").load(built.config().table("users"))
    path = str(tmp_path / "vectors")
    keys.selectExpr(f"{key} AS key", f"{vector} AS vector").write.format("delta").save(path)
    with pytest.raises(UserError, match=message):
        load_vectors(built.config(built.copy(tmp_path), f"model.user_vectors={path}"))


def test_vectors_with_deleted_rows_are_refused(spark, built, tmp_path):
    path = str(tmp_path / "vectors")
    vectors = spark.createDataFrame([(str(n), [1.0, 2.0]) for n in range(40)], "key STRING, vector ARRAY<FLOAT>")
    vectors.coalesce(1).write.format("delta").option("delta.enableDeletionVectors", "true").save(path)
    config = built.config(f"model.user_vectors={path}", built.copy(tmp_path))
    assert load_vectors(config)
    spark.sql(f"DELETE FROM delta.`{path}` WHERE key = '3'")
    with pytest.raises(UserError, match="vectors .version 1. has deletion vectors"):
        load_vectors(config)
