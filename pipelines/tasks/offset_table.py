"""Reads and appends rows of the table domain_parameters: the offsets of domains, by model version."""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.tasks.model_key import ModelKey
from training.artifacts import domain_parameters


def copy_offsets(parameters: DataFrame, key: ModelKey) -> None:
    """Appends rows of another model unchanged, as rows of the model `key`."""
    renamed = parameters.withColumn("model_version", F.lit(key.model_version))
    append_offsets(renamed, key.config.table("domain_parameters"))


def append_offsets(parameters: DataFrame, path: str) -> None:
    """Appends rows in small row groups: a server reads a whole row group for one domain."""
    settings = parameters.sparkSession.conf
    for name, value in domain_parameters.HADOOP_ROW_GROUPS.items():
        settings.set(name, value)
    try:
        parameters.write.format("delta").mode("append").save(path)
    finally:
        for name in domain_parameters.HADOOP_ROW_GROUPS:
            settings.unset(name)


def adapted_domains(spark: SparkSession, path: str, model_version: str) -> set[int]:
    """Returns the domains that have a row of this model version."""
    rows = tables.read(spark, path).where(F.col("model_version") == model_version).select("domain_id")
    return set(rows.toArrow()["domain_id"].to_pylist())
