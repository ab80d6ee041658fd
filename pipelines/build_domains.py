"""Builds the tables samples, domains, users, items and rejects from a raw log.

    spark-submit pipelines/build_domains.py --config conf/ml_latest_small.yaml [key=value ...]

The steps are clean, encode, plan, sample, describe, check and publish; each lies in pipelines/samples. With
data.incremental, a build adds the new rows of the log to the tables; see pipelines/samples/incremental.
"""

import time

from pyspark.sql import SparkSession

from pipelines.engine import tables
from pipelines.engine.session import persisting, run_job, size_tasks
from pipelines.samples.bucket_plan import assign_buckets, plan_buckets, size_domains
from pipelines.samples.bucket_samples import make_samples
from pipelines.samples.checks import require_planned_rows, require_sound
from pipelines.samples.cleaning import deduplicate, rejects
from pipelines.samples.domain_table import describe_domains
from pipelines.samples.encoding import encode_log
from pipelines.samples.features import column_definitions
from pipelines.samples.incremental.add_rows import add_rows
from pipelines.samples.parsed_log import parse_log
from pipelines.samples.published_builds import publish, start_build, tagged_commits
from pipelines.samples.row_counts import count_clean_rows, count_parsed_rows, summarise_build
from training.config import Config


def build_domains(spark: SparkSession, config: Config) -> dict:
    """Builds the tables from the whole log and returns the summary. Raises UserError."""
    start = time.monotonic()
    started = start_build(spark, config)
    with tagged_commits(spark), persisting() as persist:
        # clean
        log = parse_log(spark, config.data)
        rows_in = count_parsed_rows(log.rows, config)
        size_tasks(spark, rows_in)
        clean = persist(deduplicate(log.rows))
        rejected = tables.write(rejects(log.rows), "rejects", config)
        counts, latest_time = count_clean_rows(rows_in, clean, rejected, config)
        # encode
        encoded = encode_log(clean, config, persist)
        # plan
        sized = persist(size_domains(encoded.rows, encoded.domain_ids, log.labelled, config))
        plan = persist(plan_buckets(sized, config.data))
        clean.unpersist()  # the largest frame; `encoded.rows` is computed and persisted by now
        # sample
        rows = assign_buckets(encoded.rows, plan, log.labelled)
        made = make_samples(rows, config.data, config.seed, log.labelled, encoded.owners, log.events)
        samples = tables.write(made, "samples", config, column_definitions(config.data.features))
        samples_made = samples.count()
        # describe
        tables.write(describe_domains(plan, samples), "domains", config)
        tables.create_table(spark, "domain_parameters", config.table("domain_parameters"))
        # check
        require_planned_rows(samples_made, plan)
        require_sound(spark, config)
        # publish
        publish(spark, config, started, latest_time)
    return summarise_build(spark, config, counts, samples_made, samples_made, start)


def build(spark: SparkSession, config: Config) -> dict:
    """Builds the tables, or adds the new rows of the log to them if data.incremental is set and they exist."""
    incremental = config.data.incremental and tables.exists(spark, config.table("samples"))
    return add_rows(spark, config) if incremental else build_domains(spark, config)


if __name__ == "__main__":
    run_job("build_domains", build)
