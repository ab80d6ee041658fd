"""Builds the tables of samples, domains, users, items and rejects from a raw log.

spark-submit pipelines/build_domains.py --config conf/ml_latest_small.yaml [key=value ...]
"""

import time
from collections.abc import Callable

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.engine.session import persisting, run_job, size_tasks
from pipelines.samples import published_builds, row_choice
from pipelines.samples.bucket_samples import make_samples
from pipelines.samples.buckets import (
    assign_buckets,
    ctr_ratio,
    describe_domains,
    plan_buckets,
    samples_by_domain,
    with_ids,
)
from pipelines.samples.checks import require_sound
from pipelines.samples.cleaning import Features, check_labels, deduplicate, read_rows, rejects
from pipelines.samples.features import (
    columns,
    definitions,
    describe,
    encode,
    keys_by_feature,
    moments,
    of,
    values_by_owner,
    vocabularies,
)
from pipelines.samples.ids import dense_ids
from pipelines.samples.incremental import add_rows
from pipelines.sources import read_log, read_vectors
from training.config import Config
from training.errors import UserError


def build_domains(spark: SparkSession, config: Config) -> dict:
    """Runs the whole job and returns its summary. Raises UserError."""
    start = time.monotonic()
    before, source_version = published_builds.current(spark, config), published_builds.source_version(spark, config)
    with published_builds.marked(spark), persisting() as persist:
        raw, positive_at = read_log(spark, config.data)
        labelled, events, features = "label" in raw.columns, "event" in raw.columns, config.data.features
        if not labelled:
            _refuse_features_of_rows(features)
        raw = row_choice.choose_rows(raw, config.data, positive_at)
        parsed = read_rows(raw, config.data, positive_at)
        rows_in = _count_rows(parsed, config)
        size_tasks(spark, rows_in)
        kept = persist(deduplicate(parsed))
        counts, latest_time = _counts(rows_in, kept, _write(rejects(parsed), "rejects", config), config)

        encoded, users, items = _write_keys(kept, config, persist)
        for owner, vectors in read_vectors(spark, config.data).items():
            keys = users if owner == "user" else items
            path = config.table(f"{owner}_vectors")
            tables.overwrite(vectors.join(keys, "key", "left_semi"), "vectors", path)
        domain_ids = persist(dense_ids(kept, "domain", persist))
        further = [name for name in kept.columns if name == "split"] + list(columns(of(features, "row")))
        log = persist(with_ids(encoded, domain_ids, users, items, further))

        keyed = domain_ids.select(F.col("id").cast("int").alias("domain_id"), F.col("key").alias("domain_key"))
        ratio = F.lit(None).cast("double") if labelled else ctr_ratio(config.data, config.seed)
        sized = persist(samples_by_domain(log, keyed.withColumn("ctr_ratio", ratio), labelled))
        plan = persist(plan_buckets(sized, config.data))
        kept.unpersist()  # the largest of the frames: what follows reads the log, which is there by now
        owners = {f"{owner}_id": table for owner, table in (("user", users), ("item", items)) if of(features, owner)}
        samples = make_samples(assign_buckets(log, plan, labelled), config.data, config.seed, labelled, owners, events)
        samples_made = _write(samples, "samples", config, definitions(features)).count()
        _write(describe_domains(plan, tables.read(spark, config.table("samples"))), "domains", config)
        tables.create_table(spark, "domain_parameters", config.table("domain_parameters"))
        _check_count("samples written", samples_made, "samples planned", plan.agg(F.sum("rows")).first()[0])
        require_sound(spark, config)
        published_builds.record(spark, config, source_version, latest_time, before)
    seconds = time.monotonic() - start
    return {
        **counts,
        "samples": samples_made,
        **{name: tables.read(spark, config.table(name)).count() for name in ("domains", "users", "items")},
        "table_version": tables.version(config.table("samples")),
        "seconds": round(seconds, 3),
        "samples_per_second": round(samples_made / seconds, 1),
    }


def _count_rows(parsed: DataFrame, config: Config) -> int:
    """How many rows the log has; raises UserError where it has none, or a label is neither 0 nor 1."""
    rows_in, other_labels = parsed.agg(F.count("*"), F.expr("count_if(label NOT IN (0, 1))")).first()
    if rows_in == 0:
        chosen = " and ".join(f"data.{key}" for key in row_choice.KEYS if getattr(config.data, key) is not None)
        after = f" after {chosen} chose" if chosen else ""
        raise UserError(f"input {config.data.path} has no rows{after}: give a log with at least one row")
    if other_labels:
        check_labels(parsed)
    return rows_in


def _counts(rows_in: int, kept: DataFrame, rejected: DataFrame, config: Config) -> tuple[dict, float | None]:
    """The row counts of the summary, and the largest time of a kept row; raises UserError where none is kept."""
    counted = (F.count("*").alias("kept"), F.sum("copies").alias("copies"), F.max("time").alias("latest"))
    totals = kept.agg(*counted).first()
    rows_rejected = rejected.count()
    if totals["kept"] == 0:
        reason = rejected.groupBy("column", "reason").count().orderBy(F.desc("count")).first()
        raise UserError(
            f"input {config.data.path}: all {rows_in} rows were rejected, "
            f'most ({reason["count"]}) because "{reason["column"]}" is {reason["reason"]}: check data.columns'
        )
    _check_count("rows in", rows_in, "rows kept, rejected and duplicate", totals["copies"] + rows_rejected)
    counts = {
        "rows_in": rows_in,
        "rows_kept": totals["kept"],
        "rows_rejected": rows_rejected,
        "rows_duplicate": totals["copies"] - totals["kept"],
    }
    return counts, totals["latest"]


def _refuse_features_of_rows(features: Features) -> None:
    for name in of(features, "row"):
        raise UserError(
            f'feature "{name}" is the value of a row of the log, and negatives that are drawn have none: set '
            f"data.features.{name}.of=user or =item, or data.columns.label"
        )


def _write_keys(
    kept: DataFrame, config: Config, persist: Callable[[DataFrame], DataFrame]
) -> tuple[DataFrame, DataFrame, DataFrame]:
    """Writes the tables users, items, vocabularies and features.

    Returns:
        `kept` with the features of its rows as numbers, and the tables users and items.
    """
    spark, features = kept.sparkSession, config.data.features
    ids = {owner: dense_ids(kept, owner, persist) for owner in ("user", "item")}
    if not features:
        for name in ("vocabularies", "features"):
            tables.clear(spark, name, config.table(name))
        return kept, *(_write(frame, f"{owner}s", config) for owner, frame in ids.items())
    values = values_by_owner(kept, features, persist)
    vocabulary = _write(vocabularies(values, features, spark, persist), "vocabularies", config)
    keys, statistics = keys_by_feature(features, vocabulary, ids["item"]), moments(kept, features)
    encoded = {owner: encode(frame, of(features, owner), keys, statistics) for owner, frame in values.items()}
    users, items = (
        _write(
            frame.join(encoded[owner], "key") if owner in encoded else frame,
            f"{owner}s",
            config,
            definitions(of(features, owner)),
        )
        for owner, frame in ids.items()
    )
    _write(describe(features, vocabulary, items.count(), statistics), "features", config)
    return encoded["row"], users, items


def _write(frame: DataFrame, name: str, config: Config, features: str = "") -> DataFrame:
    """Replaces the table `name`, and returns it as it can be read then."""
    tables.overwrite(frame, name, config.table(name), features)
    return tables.read(frame.sparkSession, config.table(name))


def _check_count(name: str, count: int, other_name: str, other: int) -> None:
    if count != other:
        raise RuntimeError(f"{count} {name}, but {other} {other_name}: the input changed while it was read?")


def build(spark: SparkSession, config: Config) -> dict:
    """Builds the tables, or lets them grow where data.incremental asks for it and they are there."""
    grows = config.data.incremental and tables.exists(spark, config.table("samples"))
    return add_rows(spark, config) if grows else build_domains(spark, config)


if __name__ == "__main__":
    run_job("build_domains", build)
