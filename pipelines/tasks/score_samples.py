"""Computes logits of samples inside Spark tasks, by theta^S and by theta^S + theta^i."""

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.engine.rows import aggregate
from pipelines.tasks.arrow_columns import sorted_columns
from pipelines.tasks.model_key import ModelKey, open_theta
from training.artifacts.domain_parameters import from_row
from training.column_names import ROW_ORDER
from training.config.framework_settings import adaptation_settings
from training.distributed.device import use_cpu
from training.parameters.forward import predict, predict_adapted

DOMAINS_PER_TASK = 256  # about; a task holds their offsets, each as large as a network
SCHEMA = "model STRING, domain_id INT, user_id BIGINT, item_id BIGINT, label FLOAT, logit DOUBLE"


def score_samples(
    samples: DataFrame, parameters: DataFrame, domains: DataFrame, names: dict[str, bool], key: ModelKey
) -> DataFrame:
    """Computes the logits of `samples` under each of the models `names`.

    Args:
        samples: the columns of the model's schema, and bucket.
        parameters: the rows of domain_parameters of the model version. A domain without a row has theta^i = 0.
        domains: the domains table, which tells the buckets of each domain.
        names: for each model, whether theta^i is added.

    Returns:
        One row per sample and model, as in SCHEMA.
    """

    names_read, dtype = key.schema.columns, adaptation_settings(key.config).specific_dtype

    def score_group(rows: pa.Table, stored: pa.Table) -> pa.Table:
        use_cpu(threads=1)
        model, theta = open_theta(key)
        columns = sorted_columns(rows, names_read)
        shared = predict(model, theta, columns)
        offsets = {}
        for row in stored.to_pylist():
            if (offset := from_row(row, theta, dtype)) is not None:
                offsets[row["domain_id"]] = offset
        scored = []
        for name, adds_offset in names.items():
            logits = predict_adapted(model, theta, columns, offsets, shared) if adds_offset else shared
            table = pa.table({column: columns[column] for column in ROW_ORDER})
            table = table.append_column("logit", pa.array(logits, pa.float64()))
            scored.append(table.add_column(0, "model", pa.array([name] * len(logits), pa.string())))
        return pa.concat_tables(scored)

    buckets_of = domains.select(
        "domain_id", F.explode(F.expr("sequence(first_bucket, first_bucket + buckets - 1)")).alias("bucket")
    )
    part_column = domain_part(domains).alias("part")
    by_bucket = parameters.where("rounds > 0").drop("bucket").join(F.broadcast(buckets_of), "domain_id")
    by_bucket = by_bucket.select("bucket", part_column, "domain_id", "rounds", "dense", "embeddings")
    return (
        samples.select(*names_read, "bucket", part_column)
        .groupBy("bucket", "part")
        .cogroup(by_bucket.groupBy("bucket", "part"))
        .applyInArrow(score_group, SCHEMA)
    )


def domain_part(domains: DataFrame) -> Column:
    """Splits the domains of large buckets, so that one task holds the offsets of about DOMAINS_PER_TASK domains."""
    domains_per_bucket = domains.groupBy("first_bucket").count()
    largest = aggregate(domains_per_bucket, F.max("count"))[0]
    return F.pmod("domain_id", F.lit(-(-largest // DOMAINS_PER_TASK)))
