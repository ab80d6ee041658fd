"""New rows of the log into tables that are there: ids stay, and only buckets with new rows are written again.

Domains, users and items keep their ids, and new ones get the next. A domain keeps its buckets, and new domains get new
ones. A row whose (domain, user, item) is a sample already gives that its label, and the sample stays in its split; if
the label is the same, the row counts as a duplicate. So the same rows twice change nothing.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.engine.session import persisting, size_tasks
from pipelines.samples import published_builds
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
from pipelines.samples.cleaning import check_labels, deduplicate, read_rows, rejects
from pipelines.samples.features import columns, of
from pipelines.samples.ids import dense_ids
from pipelines.samples.incremental_features import encode_new, require_same_features, updated, write_vocabularies
from pipelines.samples.row_choice import choose_rows
from pipelines.sources import read_log
from training.config import Config
from training.errors import UserError

SAMPLE = ["domain_id", "user_id", "item_id"]
PLAN = ["domain_id", "domain_key", "ctr_ratio", "head", "first_bucket", "buckets"]


def add_rows(spark: SparkSession, config: Config) -> dict:
    """Adds the rows of the log that the last build did not see, and returns the summary of the build.

    A head domain that grows stays in its buckets, a tail domain stays one, and so does a new domain, whatever its size:
    a build anew plans them again.

    Raises:
        UserError: the tables were built with what cannot grow; as the build.
    """
    start = time.monotonic()
    last = _require_growing(spark, config)
    published_builds.undo_unfinished(spark, config, last)
    before = published_builds.current(spark, config)
    source_version = published_builds.source_version(spark, config)
    with published_builds.marked(spark), persisting() as persist:
        data = published_builds.unread(config.data, last)
        raw, positive_at = read_log(spark, data)
        if "event" in raw.columns:
            raise UserError(
                f"tables of {config.root} hold several samples of a user and an item (data.columns.event, or a source "
                "that has events) and cannot grow: build them anew, without data.incremental"
            )
        parsed = persist(read_rows(choose_rows(raw, data, positive_at), data, positive_at))
        check_labels(parsed)
        rows_in, rows_rejected = parsed.agg(F.count("*"), F.count("reason")).first()
        size_tasks(spark, rows_in)
        kept = persist(deduplicate(parsed))
        rows_kept = _add(kept, last, before, "label" in raw.columns, config, persist) if rows_in else 0
        new_rejects = persist(_new_rejects(parsed, config))
        changed = rows_kept > 0
        if rows_rejected and not new_rejects.isEmpty():
            tables.append(new_rejects, "rejects", config.table("rejects"))
            changed = True
        if changed:
            require_sound(spark, config)
            published_builds.record(spark, config, source_version, _latest(kept, last, config), before)
    counts = {name: tables.read(spark, config.table(name)).count() for name in ("samples", "domains", "users", "items")}
    seconds = time.monotonic() - start
    return {
        "rows_in": rows_in,
        "rows_kept": rows_kept,
        "rows_rejected": rows_rejected,
        "rows_duplicate": rows_in - rows_kept - rows_rejected,
        **counts,
        "table_version": tables.version(config.table("samples")),
        "seconds": round(seconds, 3),
        "samples_per_second": round(rows_kept / seconds, 1),
    }


def _add(
    kept: DataFrame,
    last: published_builds.Row,
    before: Mapping[str, int],
    labelled: bool,
    config: Config,
    persist: Callable[[DataFrame], DataFrame],
) -> int:
    """Writes the tables with the rows of `kept` that change the samples, and returns their number.

    `before`: the versions of the tables that they are added to.
    """
    spark, features = kept.sparkSession, config.data.features
    grown = {owner: _grow(owner, kept, config, persist) for owner in ("user", "item", "domain")}
    keys = {owner: known.unionByName(new) for owner, (known, new) in grown.items()}
    new = encode_new(kept, keys["item"], config, persist)
    further = [name for name in kept.columns if name == "split"] + list(columns(of(features, "row")))
    log = persist(with_ids(new.rows, keys["domain"], keys["user"], keys["item"], further))
    plan = persist(_plan(log, grown["domain"][1], labelled, config))
    samples = tables.read(spark, config.table("samples"), before["samples"])
    changed = persist(_changed(log, plan, samples))
    rows = changed.count()
    if rows:
        owners = {}
        for owner, encoded in new.owners.items():
            stored = tables.read(spark, config.table(f"{owner}s"), before[f"{owner}s"])
            owners[owner] = persist(updated(stored, grown[owner][1], encoded, of(features, owner)))
        domains = changed.select("domain_id")
        if before["samples"] != last["versions"]["samples"]:
            domains = domains.union(_shrunk(samples, config))
        of_changed = plan.join(domains.distinct(), "domain_id", "left_semi")
        # each write has Spark plan anew what it keeps of that table: what follows needs these domains alone
        of_changed = spark.createDataFrame(of_changed.toPandas(), of_changed.schema)
        _merge(changed, plan, samples, owners, labelled, config)
        for frame in (changed, plan, log):
            frame.unpersist()
        for owner in ("user", "item"):
            name, path = f"{owner}s", config.table(f"{owner}s")
            if owner in owners:
                tables.overwrite(owners[owner], name, path)
            else:
                tables.append(grown[owner][1], name, path)
        write_vocabularies(new, config)
        _describe(of_changed, config)
    return rows


def _require_growing(spark: SparkSession, config: Config) -> published_builds.Row:
    """The last build of the tables. Raises UserError where they cannot grow."""
    data = config.data
    if data.largest_domains is not None:
        raise UserError("tables with data.largest_domains cannot grow: build them anew, without data.incremental")
    require_same_features(spark, config)
    last = published_builds.read_last(spark, config)
    if last is None:
        raise UserError(f"tables of {config.root} were built before builds were noted: build them anew")
    return last


def _grow(
    owner: str, kept: DataFrame, config: Config, persist: Callable[[DataFrame], DataFrame]
) -> tuple[DataFrame, DataFrame]:
    """(key, id) of the users, items or domains that are known, and of those that are new."""
    spark = kept.sparkSession
    if owner == "domain":
        table = tables.read(spark, config.table("domains"))
        known = table.select(F.col("domain_key").alias("key"), F.col("domain_id").cast("bigint").alias("id"))
    else:
        known = tables.read(spark, config.table(f"{owner}s")).select("key", "id")
    return known, persist(dense_ids(kept, owner, persist, known))


def _new_rejects(parsed: DataFrame, config: Config) -> DataFrame:
    """The rejects that the table has not: rows without a time that can be read come again with each reading."""
    known = tables.read(parsed.sparkSession, config.table("rejects"))
    return rejects(parsed).join(known, known.columns, "left_anti")


def _latest(kept: DataFrame, last: published_builds.Row, config: Config) -> float | None:
    """The largest time of this log that this build or the last one kept."""
    times = [published_builds.latest_time(kept), last["latest"] if last["path"] == config.data.path else None]
    return max((time for time in times if time is not None), default=None)


def _plan(log: DataFrame, new_domains: DataFrame, labelled: bool, config: Config) -> DataFrame:
    """PLAN of all domains: as it stands for those that are known, with new buckets for those that are new."""
    domains = tables.read(log.sparkSession, config.table("domains"))
    keyed = new_domains.select(F.col("id").cast("int").alias("domain_id"), F.col("key").alias("domain_key"))
    ratio = F.lit(None).cast("double") if labelled else ctr_ratio(config.data, config.seed)
    new = samples_by_domain(log, keyed.withColumn("ctr_ratio", ratio), labelled)
    taken = domains.agg(F.max(F.col("first_bucket") + F.col("buckets"))).first()[0]
    all_tail = replace(config.data, head_rows=config.data.synthetic.samples)
    planned = plan_buckets(new, all_tail).withColumn("first_bucket", F.col("first_bucket") + F.lit(taken))
    return domains.select(PLAN).unionByName(planned.select(PLAN))


def _changed(log: DataFrame, plan: DataFrame, samples: DataFrame) -> DataFrame:
    """The rows of `log` that are no sample yet, or have another label; with bucket, ctr_ratio and split.

    `split` is that of the sample, else the log's own, else null.
    """
    placed = assign_buckets(log, plan, labelled=True)
    buckets = [row["bucket"] for row in placed.select("bucket").distinct().collect()]
    there = samples.where(F.col("bucket").isin(buckets))
    there = there.select(*SAMPLE, F.col("label").alias("_label"), F.col("split").alias("_split"))
    own = F.col("split") if "split" in log.columns else F.lit(None).cast("string")
    return (
        placed.join(there, SAMPLE, "left")
        .where("_label IS NULL OR _label != label")
        .withColumn("split", F.coalesce("_split", own))
        .drop("_label", "_split")
    )


def _merge(
    changed: DataFrame,
    plan: DataFrame,
    samples: DataFrame,
    owners: Mapping[str, DataFrame],
    labelled: bool,
    config: Config,
) -> None:
    """Writes the buckets of `changed` again, with the samples that stay.

    `owners`: the tables of users and items as they will be, where they have features.
    """
    buckets = [row["bucket"] for row in changed.select("bucket").distinct().collect()]
    ratios = F.broadcast(plan.select("domain_id", "ctr_ratio"))
    stay = samples.where(F.col("bucket").isin(buckets)).join(changed, SAMPLE, "left_anti").join(ratios, "domain_id")
    of_owners = {name: kind for owner in owners for name, kind in columns(of(config.data.features, owner)).items()}
    placed = changed.withColumn("stands", F.lit(False))
    placed = placed.withColumns({name: F.lit(None).cast(kind) for name, kind in of_owners.items()})
    placed = placed.unionByName(stay.withColumn("stands", F.lit(True)).select(placed.columns))
    if not labelled:
        met = samples.join(changed.select("domain_id").distinct(), "domain_id", "left_semi")
        pools = assign_buckets(changed.select(*SAMPLE, "label"), plan, labelled, met.select("domain_id", "item_id"))
        pools = pools.where(F.col("user_id").isNull() & F.col("bucket").isin(buckets))
        placed = placed.unionByName(pools.withColumn("stands", F.lit(False)), allowMissingColumns=True)
    by_id = {f"{owner}_id": frame for owner, frame in owners.items()}
    made = make_samples(placed, config.data, config.seed, labelled, by_id)
    tables.replace_buckets(made, config.table("samples"), buckets)


def _shrunk(samples: DataFrame, config: Config) -> DataFrame:
    """The domain_id of domains that have fewer samples than they had: somebody deleted rows."""
    spark = samples.sparkSession
    domains = tables.read(spark, config.table("domains")).select("domain_id", "rows")
    there = spark.sql(tables.statement("queries/counts", samples="{samples}"), samples=samples)
    there = there.select("domain_id", F.col("rows").alias("there"))
    return domains.join(there, "domain_id", "left").where("NOT rows <=> there").select("domain_id")


def _describe(plan: DataFrame, config: Config) -> None:
    """Writes the table domains again, where the domains of `plan` have other samples now."""
    spark, path = plan.sparkSession, config.table("domains")
    own = plan.select(F.explode(F.expr("sequence(first_bucket, first_bucket + buckets - 1)")).alias("bucket"))
    buckets = [row["bucket"] for row in own.distinct().collect()]
    samples = tables.read(spark, config.table("samples")).where(F.col("bucket").isin(buckets))
    met = [F.countDistinct(f"{owner}_id").alias(f"{owner}s") for owner in ("user", "item")]
    described = describe_domains(plan.join(samples.groupBy("domain_id").agg(*met), "domain_id"), samples)
    others = tables.read(spark, path).join(plan, "domain_id", "left_anti")
    tables.overwrite(others.unionByName(described), "domains", path)
