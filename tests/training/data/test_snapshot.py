"""Tests which versions and rows of the tables a run reads, and which tables it refuses."""

import re
from pathlib import Path

import pytest
from deltalake import DeltaTable

from training.data.petastorm_reader import read_buckets
from training.data.snapshot import take_snapshot
from training.errors import UserError
from training.train import train


def test_missing_tables_are_named(built, tmp_path):
    with pytest.raises(UserError, match=r"table .*samples does not exist: run pipelines/build_domains.py"):
        train(built.config(f"root={tmp_path}"))


def test_samples_with_deletion_vectors_are_refused(spark, built, tmp_path):
    config = built.config("framework.name=dn", built.copy(tmp_path))
    table = f"delta.`{config.table('samples')}`"
    spark.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')")
    with pytest.raises(UserError, match="has deletion vectors, which the reader does not support"):
        train(config)
    spark.sql(f"DELETE FROM {table} WHERE user_id = 3")
    spark.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')")
    assert DeltaTable(config.table("samples")).deletion_vectors().read_all().num_rows > 0
    with pytest.raises(UserError, match="has deletion vectors, which the reader does not support"):
        train(config)


@pytest.mark.parametrize(
    ("table", "statements", "message"),
    [
        (
            "samples",
            ["SET TBLPROPERTIES ('delta.columnMapping.mode' = 'name')", "RENAME COLUMN label TO clicked"],
            "has column mapping enabled",
        ),
        ("users", ["SET TBLPROPERTIES ('delta.columnMapping.mode' = 'name')"], "has column mapping enabled"),
        ("domains", ["SET TBLPROPERTIES ('delta.enableTypeWidening' = 'true')"], "has type widening enabled"),
    ],
)
def test_tables_with_features_that_change_their_files_are_refused(spark, built, tmp_path, table, statements, message):
    config = built.config("framework.name=dn", built.copy(tmp_path))
    if "RENAME" in statements[-1]:
        spark.sql(f"ALTER TABLE delta.`{config.table(table)}` DROP CONSTRAINT IF EXISTS label_is_0_or_1")
    for statement in statements:
        spark.sql(f"ALTER TABLE delta.`{config.table(table)}` {statement}")
    with pytest.raises(UserError, match=rf"table .*{table} \(version \d+\) {message}"):
        train(config)


def test_missing_file_of_a_table_is_named_before_training(built, tmp_path):
    config = built.config("framework.name=dn", built.copy(tmp_path))
    missing = Path(take_snapshot(config).files[0].path)
    missing.unlink()
    with pytest.raises(UserError, match=rf"lacks 1 of its \d+ files, for example {re.escape(str(missing))}"):
        train(config)


def test_rows_deleted_before_the_run_are_not_read(spark, built, tmp_path):
    config = built.config("framework.name=dn", "training.epochs=1", built.copy(tmp_path))
    spark.sql(f"DELETE FROM delta.`{config.table('samples')}` WHERE user_id = 3")
    left = spark.read.format("delta").load(config.table("samples")).where("split = 'train'").count()
    assert train(config)["samples"] == left


def test_rows_deleted_after_the_version_was_pinned_are_read(spark, built, tmp_path):
    snapshot = take_snapshot(built.config(built.copy(tmp_path)))
    table = DeltaTable(built.config(f"root={tmp_path}/root").table("samples"))
    table.delete("user_id = 3")
    assert table.version() == snapshot.version + 1
    assert 3 in read_buckets(snapshot, "train")["user_id"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE {} SET item_id = 99 WHERE user_id = 3", "has item_id 99, but its vocabulary ends at 24"),
        ("UPDATE {} SET user_id = 40 WHERE user_id = 3", "has user_id 40, but its vocabulary ends at 39"),
        ("UPDATE {} SET domain_id = 12 WHERE domain_id = 7", "has domain_id 12, but its vocabulary ends at 11"),
    ],
)
def test_id_beyond_its_vocabulary_is_refused_before_training(spark, built, tmp_path, change, message):
    config = built.config("framework.name=dn", built.copy(tmp_path))
    spark.sql(change.format(f"delta.`{config.table('samples')}`"))
    with pytest.raises(UserError, match=rf"file .*parquet of table .*samples \(version \d+\) {message}"):
        train(config)
