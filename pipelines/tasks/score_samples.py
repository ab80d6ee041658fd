"""Forward passes inside Spark tasks: samples in, logits of theta^S and of theta^S + theta^i out."""

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.tasks.arrow_columns import sorted_columns
from pipelines.tasks.model_key import ModelKey, open_theta
from training.artifacts.domain_parameters import from_row
from training.column_names import ROW_ORDER
from training.config.framework_settings import adaptation_settings
from training.distributed.device import use_cpu
from training.parameters.forward import predict, predict_adapted

DOMAINS_AT_A_TIME = 256  # whose theta^i a task holds: each has the size of a network
SCHEMA = "model STRING, domain_id INT, user_id BIGINT, item_id BIGINT, label FLOAT, logit DOUBLE"


def score_samples(
    samples: DataFrame, specific: DataFrame, domains: DataFrame, names: dict[str, bool], key: ModelKey
) -> DataFrame:
    """The logits of `samples` under each of the models `names`.

    Args:
        samples: the columns of the model's schema, and bucket.
        specific: rows of domain_parameters of the model version; a domain that is not there has theta^i = 0.
        domains: the domains table, which tells in which buckets a domain lies.
        names: by the model's name whether theta^i is added.

    Returns:
        A row a sample and model, as in SCHEMA.
    """

    names_read, dtype = key.schema.columns, adaptation_settings(key.config).specific_dtype

    def score_part(rows: pa.Table, parameters: pa.Table) -> pa.Table:
        use_cpu(threads=1)
        model, theta = open_theta(key)
        columns = sorted_columns(rows, names_read)
        shared = predict(model, theta, columns)
        known = {row["domain_id"]: from_row(row, theta, dtype) for row in parameters.to_pylist()}
        known = {domain: value for domain, value in known.items() if value is not None}
        parts = []
        for name, adds_specific in names.items():
            logits = predict_adapted(model, theta, columns, known, shared) if adds_specific else shared
            table = pa.table({column: columns[column] for column in ROW_ORDER})
            table = table.append_column("logit", pa.array(logits, pa.float64()))
            parts.append(table.add_column(0, "model", pa.array([name] * len(logits), pa.string())))
        return pa.concat_tables(parts)

    places = domains.select(
        "domain_id", F.explode(F.expr("sequence(first_bucket, first_bucket + buckets - 1)")).alias("bucket")
    )
    part = domain_part(domains).alias("part")
    by_bucket = specific.where("rounds > 0").drop("bucket").join(F.broadcast(places), "domain_id")
    parameters = by_bucket.select("bucket", part, "domain_id", "rounds", "dense", "embeddings")
    return (
        samples.select(*names_read, "bucket", part)
        .groupBy("bucket", "part")
        .cogroup(parameters.groupBy("bucket", "part"))
        .applyInArrow(score_part, SCHEMA)
    )


def domain_part(domains: DataFrame) -> Column:
    """In which part of its bucket a domain is scored, so that a part has some DOMAINS_AT_A_TIME domains at most."""
    most = domains.groupBy("first_bucket").count().agg(F.max("count")).first()[0]
    return F.pmod("domain_id", F.lit(-(-most // DOMAINS_AT_A_TIME)))
