"""Builds the tables of samples, domains, users, items and rejects from a raw log.

spark-submit pipelines/build_domains.py --config conf/ml_latest_small.yaml [key=value ...]
"""

import time

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines import tables
from pipelines.buckets import assign_buckets, ctr_ratio, plan_buckets, samples_by_domain, with_ids
from pipelines.cleaning import deduplicate, parse, rejects
from pipelines.ids import dense_ids
from pipelines.samples import make_samples
from pipelines.session import persisting, run_job
from pipelines.sources import read_log
from training.config import Config
from training.errors import UserError


def build_domains(spark: SparkSession, config: Config) -> dict:
    """Runs the whole job and returns its summary. Raises UserError."""
    start = time.monotonic()
    with persisting() as persist:
        raw, positive_at = read_log(spark, config.data)
        labelled = "label" in raw.columns
        if config.data.domains is not None:
            raw = raw.where(F.col("domain").isNull() | F.col("domain").isin(config.data.domains))
        parsed = parse(raw, positive_at)
        kept = persist(deduplicate(parsed))

        tables.overwrite(rejects(parsed), "rejects", config.table("rejects"))
        counts = _count_rows(raw, kept, tables.read(spark, config.table("rejects")), config)
        _check_labels(kept)

        for name in ("user", "item"):
            tables.overwrite(dense_ids(kept, name), f"{name}s", config.table(f"{name}s"))
        users, items = (tables.read(spark, config.table(name)) for name in ("users", "items"))
        domain_ids = persist(dense_ids(kept, "domain"))
        log = persist(with_ids(kept, domain_ids, users, items))

        keyed = domain_ids.select(F.col("id").cast("int").alias("domain_id"), F.col("key").alias("domain_key"))
        ratio = F.lit(None).cast("double") if labelled else ctr_ratio(config.data, config.seed)
        sized = persist(samples_by_domain(log, keyed.withColumn("ctr_ratio", ratio), labelled))
        plan = persist(plan_buckets(sized, config.data))
        samples = make_samples(assign_buckets(log, plan, labelled), config.data, config.seed, labelled)
        tables.overwrite(samples, "samples", config.table("samples"))
        tables.overwrite(_describe_domains(plan, config), "domains", config.table("domains"))
        tables.create_table(spark, "domain_parameters", config.table("domain_parameters"))

        samples_made = tables.read(spark, config.table("samples")).count()
        _check_count("samples written", samples_made, "samples planned", plan.agg(F.sum("rows")).first()[0])
    seconds = time.monotonic() - start
    return {
        **counts,
        "samples": samples_made,
        **{name: tables.read(spark, config.table(name)).count() for name in ("domains", "users", "items")},
        "table_version": tables.version(spark, config.table("samples")),
        "seconds": round(seconds, 3),
        "samples_per_second": round(samples_made / seconds, 1),
    }


def _count_rows(raw: DataFrame, kept: DataFrame, rejected: DataFrame, config: Config) -> dict:
    """The row counts of the summary; raises UserError where nothing is left to learn from."""
    rows_in = raw.count()
    if rows_in == 0:
        chosen = " after data.domains chose its domains" if config.data.domains is not None else ""
        raise UserError(f"input {config.data.path} has no rows{chosen}: give a log with at least one row")
    totals = kept.agg(F.count("*").alias("kept"), F.sum("copies").alias("copies")).first()
    rows_rejected = rejected.count()
    if totals["kept"] == 0:
        reason = rejected.groupBy("column", "reason").count().orderBy(F.desc("count")).first()
        raise UserError(
            f"input {config.data.path}: all {rows_in} rows were rejected, "
            f'most ({reason["count"]}) because "{reason["column"]}" is {reason["reason"]}: check data.columns'
        )
    _check_count("rows in", rows_in, "rows kept, rejected and duplicate", totals["copies"] + rows_rejected)
    return {
        "rows_in": rows_in,
        "rows_kept": totals["kept"],
        "rows_rejected": rows_rejected,
        "rows_duplicate": totals["copies"] - totals["kept"],
    }


def _check_count(name: str, count: int, other_name: str, other: int) -> None:
    if count != other:
        raise RuntimeError(f"{count} {name}, but {other} {other_name}: the input changed while it was read?")


def _check_labels(kept: DataFrame) -> None:
    wrong = kept.where("label NOT IN (0, 1)").groupBy("label").count().orderBy("label").first()
    if wrong is not None:
        raise UserError(
            f"label {wrong['label']:g} ({wrong['count']} rows) is neither 0 nor 1: "
            "set data.positive_at to the value from which a label is positive"
        )


def _describe_domains(plan: DataFrame, config: Config) -> DataFrame:
    plan.createOrReplaceTempView("plan")
    [query] = tables.statements("domains", plan="plan", samples=f"delta.`{config.table('samples')}`")
    return plan.sparkSession.sql(query)


if __name__ == "__main__":
    run_job("build_domains", build_domains)
