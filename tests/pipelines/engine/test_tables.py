"""Tests the definitions of the tables in sql/tables, and reading and writing them."""

import pytest
from chispa import assert_df_equality
from delta.tables import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql.types import StructField, StructType

from pipelines.engine import tables
from training.column_names import IDS

NAMES = sorted(file.name.removesuffix(".sql") for file in (tables.SQL / "tables").iterdir())
ITEMS = "key STRING, id BIGINT"


@pytest.fixture(scope="module")
def made(spark, tmp_path_factory):
    """Creates every table, empty, and returns the paths by name."""
    folder = tmp_path_factory.mktemp("a folder")
    paths = {name: str(folder / name) for name in NAMES}
    for name, path in paths.items():
        tables.create_table(spark, name, path)
    return paths


def test_all_tables_of_the_contract_are_defined():
    assert {"samples", "domains", "users", "items", "rejects", "domain_parameters"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_new_table_is_empty_and_without_deletion_vectors(spark, made, name):
    assert tables.read(spark, made[name]).count() == 0
    properties = DeltaTable.forPath(spark, made[name]).detail().first()["properties"]
    assert properties["delta.enableDeletionVectors"] == "false"


def test_samples_are_partitioned_by_split_and_bucket(spark, made):
    detail = DeltaTable.forPath(spark, made["samples"]).detail().first()
    assert detail["partitionColumns"] == ["split", "bucket"]


SAMPLE = {"domain_id": 0, "user_id": 1, "item_id": 2, "label": 1.0, "bucket": 0, "split": "train"}
DOMAIN = {
    **{"domain_id": 0, "domain_key": "a", "rows": 3, "rows_train": 1, "rows_val": 1, "rows_test": 1},
    **{"positives_train": 0, "positives_val": 0, "positives_test": 0, "users": 1, "items": 1},
    **{"ctr_ratio": None, "head": False, "first_bucket": 0, "buckets": 1, "short": False},
}


@pytest.mark.parametrize(
    ("name", "row", "broken"),
    [
        ("samples", SAMPLE | {"label": 0.5}, "label_is_0_or_1"),
        ("samples", SAMPLE | {"split": "dev"}, "split_is_known"),
        ("samples", SAMPLE | {"item_id": -1}, "ids_from_zero"),
        *[("samples", SAMPLE | {column: None}, "ids_from_zero") for column in IDS],
        *[("samples", SAMPLE | {column: None}, column) for column in ("label", "bucket", "split")],
        ("domains", DOMAIN | {"rows": 4}, "rows_add_up"),
        ("domains", DOMAIN | {"domain_key": None}, "domain_key"),
        ("users", {"key": "u", "id": -1}, "ids_from_zero"),
        ("items", {"key": None, "id": 0}, "key"),
        ("rejects", {"row": "{}", "column": "label", "reason": None}, "reason"),
    ],
)
def test_table_refuses_a_bad_row(spark, made, name, row, broken):
    schema = StructType([StructField(f.name, f.dataType) for f in tables.read(spark, made[name]).schema])
    frame = spark.createDataFrame([row], schema)
    with pytest.raises((PySparkException, Py4JJavaError), match=rf"(CHECK|NOT NULL) constraint.* {broken}"):
        frame.write.format("delta").mode("append").save(made[name])
    assert tables.read(spark, made[name]).count() == 0


def test_table_accepts_a_good_row(spark, tmp_path):
    for name, row in (("samples", SAMPLE), ("domains", DOMAIN)):
        path = str(tmp_path / name)
        tables.create_table(spark, name, path)
        frame = spark.createDataFrame([row], tables.read(spark, path).schema)
        tables.overwrite(frame, name, path)
        assert_df_equality(tables.read(spark, path), frame, ignore_nullable=True)


def test_table_is_created_after_an_unfinished_first_commit(spark, tmp_path):
    log = tmp_path / "items" / "_delta_log"
    (log / "_staged_commits").mkdir(parents=True)
    temporary = ".00000000000000000000.json.474e83cc.tmp"  # left behind by a full disk
    for name in (temporary, f".{temporary}.crc"):
        (log / name).touch()
    tables.create_table(spark, "items", str(tmp_path / "items"))
    assert tables.read(spark, str(tmp_path / "items")).count() == 0


def test_create_keeps_an_existing_table_and_overwrite_is_one_commit(spark, tmp_path):
    path = str(tmp_path / "items")
    tables.overwrite(spark.createDataFrame([("b/c d", 0)], ITEMS), "items", path)
    first = tables.version(path)
    tables.create_table(spark, "items", path)
    assert tables.version(path) == first
    assert [tuple(row) for row in tables.read(spark, path).collect()] == [("b/c d", 0)]
    tables.overwrite(spark.createDataFrame([("x", 0)], ITEMS), "items", path)
    assert tables.version(path) == first + 1
    assert [tuple(row) for row in tables.read(spark, path).collect()] == [("x", 0)]


def test_statement_has_no_comment_lines():
    create = tables.statement("tables/items", table="delta.`/a path`", features="")
    assert create.startswith("CREATE TABLE delta.`/a path` (")
    assert "--" not in create


def test_statement_with_an_open_placeholder_is_an_error():
    with pytest.raises(KeyError, match="counts"):
        tables.statement("queries/domains", plan="plan")
