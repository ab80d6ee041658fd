"""Writes the table domain_parameters: domain offsets by model version."""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.tasks.model_key import ModelKey
from training.artifacts import domain_parameters


def copy_offsets(parameters: DataFrame, key: ModelKey) -> None:
    """Writes theta^i of another model as that of `key`, as it is."""
    append_offsets(
        parameters.withColumn("model_version", F.lit(key.model_version)), key.config.table("domain_parameters")
    )


def append_offsets(parameters: DataFrame, path: str) -> None:
    """Adds rows to domain_parameters in small row groups, of which one is read to serve a domain."""
    settings = parameters.sparkSession.conf
    for key, value in domain_parameters.HADOOP_ROW_GROUPS.items():
        settings.set(key, value)
    try:
        parameters.write.format("delta").mode("append").save(path)
    finally:
        for key in domain_parameters.HADOOP_ROW_GROUPS:
            settings.unset(key)


def adapted_domains(spark: SparkSession, path: str, version: str) -> set[int]:
    done = tables.read(spark, path).where(F.col("model_version") == version).select("domain_id")
    return set(done.toPandas()["domain_id"].tolist())
