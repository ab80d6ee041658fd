"""Adds the new rows of a log to tables that exist. Ids stay, and only buckets with new rows are written again.

Domains, users and items keep their ids, and new ones get the next ids. A domain keeps its buckets, and new domains get
new buckets. A row whose (domain, user, item) is already a sample gives that sample its label, and the sample stays in
its split. If the label is the same, the row counts as a duplicate. So reading the same rows twice changes nothing.
"""

import time
from collections.abc import Callable

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.engine.rows import aggregate
from pipelines.engine.session import persisting, size_tasks
from pipelines.samples.checks import require_sound
from pipelines.samples.cleaning import check_labels, deduplicate, rejects
from pipelines.samples.features import owned_by
from pipelines.samples.incremental.changed_samples import (
    changed_rows,
    describe_changed,
    domains_with_deleted_rows,
    plan_domains,
    rewrite_buckets,
)
from pipelines.samples.incremental.encoding import (
    EncodedRows,
    encode_rows,
    require_same_features,
    updated_owners,
    write_vocabularies,
)
from pipelines.samples.parsed_log import parse_log
from pipelines.samples.published_builds import (
    StartedBuild,
    last_build,
    latest_time,
    publish,
    start_build,
    tagged_commits,
    undo_unfinished,
    unread_rows,
)
from pipelines.samples.row_counts import RowCounts, summarise_build
from training.config import Config
from training.errors import UserError


def add_rows(spark: SparkSession, config: Config) -> dict:
    """Adds the rows of the log that the last build did not read, and returns the summary of the build.

    A head domain keeps its number of buckets, a tail domain stays a tail domain, and so does a new domain of any size.
    Only a full build plans buckets again.

    Raises:
        UserError: rows cannot be added to these tables; or a reason for which the full build fails.
    """
    start = time.monotonic()
    last = _require_extensible(spark, config)
    undo_unfinished(spark, config, last)
    started = start_build(spark, config)
    with tagged_commits(spark), persisting() as persist:
        # clean
        log = parse_log(spark, unread_rows(config.data, last))
        if log.events:
            raise UserError(
                f"the tables of {config.root} hold several samples of a user and an item (data.columns.event, or a "
                "source with events), so rows cannot be added: rebuild with data.incremental=false"
            )
        parsed = persist(log.rows)
        check_labels(parsed)
        rows_in, rows_rejected = aggregate(parsed, F.count("*"), F.count("reason"))
        size_tasks(spark, rows_in)
        clean = persist(deduplicate(parsed))
        # encode, plan, sample, describe
        rows_kept = _add_samples(clean, last, started, log.labelled, config, persist) if rows_in else 0
        new_rejects = persist(_new_rejects(parsed, config))
        changed = rows_kept > 0
        if rows_rejected and not new_rejects.isEmpty():
            tables.append(new_rejects, "rejects", config.table("rejects"))
            changed = True
        if changed:
            # check
            require_sound(spark, config)
            # publish
            publish(spark, config, started, _latest_time(clean, last, config))
    counts = RowCounts(rows_in, rows_kept, rows_rejected)
    samples = tables.read(spark, config.table("samples")).count()
    return summarise_build(spark, config, counts, samples, rows_kept, start)


def _add_samples(
    clean: DataFrame,
    last: Row,
    started: StartedBuild,
    labelled: bool,
    config: Config,
    persist: Callable[[DataFrame], DataFrame],
) -> int:
    """Writes the rows of `clean` that change the samples into the tables, and returns their number."""
    spark = clean.sparkSession
    # encode
    encoded = encode_rows(clean, config, persist)
    # plan
    plan = persist(plan_domains(encoded, labelled, config))
    samples = tables.read(spark, config.table("samples"), started.versions["samples"])
    changed = persist(changed_rows(encoded.rows, plan, samples))
    rows = changed.count()
    if not rows:
        return 0
    owners = _updated_owners(encoded, started, config, persist)
    domains = changed.select("domain_id")
    if started.versions["samples"] != last["versions"]["samples"]:
        domains = domains.union(domains_with_deleted_rows(samples, config))
    changed_plan = plan.join(domains.distinct(), "domain_id", "left_semi")
    # each write makes Spark plan again what is persisted of that table: later steps need these domains alone
    changed_plan = spark.createDataFrame(changed_plan.toPandas(), changed_plan.schema)
    # sample
    rewrite_buckets(changed, plan, samples, owners, labelled, config)
    for frame in (changed, plan, encoded.rows):
        frame.unpersist()
    # describe
    for owner in ("user", "item"):
        name, path = f"{owner}s", config.table(f"{owner}s")
        if owner in owners:
            tables.overwrite(owners[owner], name, path)
        else:
            tables.append(encoded.keys[owner].new, name, path)
    write_vocabularies(encoded, config)
    describe_changed(changed_plan, config)
    return rows


def _updated_owners(
    encoded: EncodedRows, started: StartedBuild, config: Config, persist: Callable[[DataFrame], DataFrame]
) -> dict[str, DataFrame]:
    """Returns the updated tables of users and items, by user or item, if they have features."""
    owners = {}
    for owner, values in encoded.owners.items():
        name = f"{owner}s"
        stored = tables.read(values.sparkSession, config.table(name), started.versions[name])
        features = owned_by(config.data.features, owner)
        owners[owner] = persist(updated_owners(stored, encoded.keys[owner].new, values, features))
    return owners


def _require_extensible(spark: SparkSession, config: Config) -> Row:
    """Returns the last build of the tables. Raises UserError if rows cannot be added to them."""
    if config.data.largest_domains is not None:
        raise UserError(
            "data.largest_domains chooses domains again in each build, so rows cannot be added: rebuild with "
            "data.incremental=false, or name the domains in data.domains"
        )
    require_same_features(spark, config)
    last = last_build(spark, config)
    if last is None:
        raise UserError(
            f"table {config.table('builds')} has no build, so new rows cannot be told from old ones: rebuild with "
            "data.incremental=false"
        )
    return last


def _new_rejects(parsed: DataFrame, config: Config) -> DataFrame:
    """Returns the rejects that the table lacks: a row whose time cannot be parsed is read again in each build."""
    stored = tables.read(parsed.sparkSession, config.table("rejects"))
    return rejects(parsed).join(stored, stored.columns, "left_anti")


def _latest_time(clean: DataFrame, last: Row, config: Config) -> float | None:
    """Returns the largest time of this log that this build or the last one kept."""
    times = [latest_time(clean), last["latest"] if last["path"] == config.data.path else None]
    return max((time for time in times if time is not None), default=None)
