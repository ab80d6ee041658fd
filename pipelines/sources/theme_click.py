"""Reads Cloud Theme Click: theme_click_log.csv, user_embedding.csv and item_embedding.csv in one folder.

The domain is the theme, and every click is a positive. As in the published code, clicks without a pre-trained vector of
the user and the item are rejected. The build writes the vectors as the tables user_vectors and item_vectors.
"""

from dataclasses import replace

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.sources.files import FAULT, read_csv_strings, require_path
from pipelines.sources.table import select_columns
from training.config import DataConfig


def read(spark: SparkSession, data: DataConfig) -> DataFrame:
    """Reads the clicks.

    | user_id | item_id | theme_id |      | user | item | domain | _fault            |
    | 7       | 12      | 3        |  ->  | 7    | 12   | 3      | null              |
    | 7       | 13      | 3        |      | 7    | 13   | 3      | (item, no vector) |
    """
    path = f"{data.path.rstrip('/')}/theme_click_log.csv"
    columns = replace(data.columns, user="user_id", item="item_id", domain="theme_id")
    log = select_columns(read_csv_strings(spark, path), replace(data, path=path, columns=columns))
    faults = []
    for name, vectors in read_vectors(spark, data).items():
        with_vector = vectors.select(F.col("key").alias(name), F.lit(True).alias(f"_has_{name}"))
        log = log.join(with_vector, name, "left")
        fault = F.struct(F.lit(name).alias("column"), F.lit("no vector").alias("reason"))
        faults.append(F.when(F.col(f"_has_{name}").isNull(), fault))
    return log.withColumn(FAULT, F.coalesce(*faults)).drop("_has_user", "_has_item")


def read_vectors(spark: SparkSession, data: DataConfig) -> dict[str, DataFrame]:
    """Reads (key STRING, vector ARRAY<FLOAT>) of user and item, one row per key."""
    folder = data.path.rstrip("/")
    return {name: _read_vectors(spark, f"{folder}/{name}_embedding.csv") for name in ("user", "item")}


def _read_vectors(spark: SparkSession, path: str) -> DataFrame:
    """Reads lines of a key, a comma and numbers separated by blanks; skips other lines, such as a header."""
    lines = spark.read.csv(require_path(spark, path), "key STRING, text STRING")
    vector = F.split(F.trim("text"), r"\s+").try_cast("array<float>")
    numbers = F.forall(vector, lambda number: F.abs(number) < float("inf"))
    parsed = lines.where("key IS NOT NULL").select("key", F.when(numbers, vector).alias("vector"))
    return parsed.where("vector IS NOT NULL").groupBy("key").agg(F.max("vector").alias("vector"))
