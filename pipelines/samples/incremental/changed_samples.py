"""Plans, samples and describes what new rows change in the samples of earlier builds."""

from collections.abc import Mapping
from dataclasses import replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.engine.rows import aggregate
from pipelines.samples.bucket_plan import assign_buckets, plan_buckets, size_domains
from pipelines.samples.bucket_samples import make_samples
from pipelines.samples.domain_table import describe_domains
from pipelines.samples.features import encoded_columns, owned_by
from pipelines.samples.incremental.encoding import EncodedRows
from training.column_names import ID_ORDER, LABEL
from training.config import Config

SAMPLE_KEY = list(ID_ORDER)  # Spark joins by a list
PLAN = ["domain_id", "domain_key", "ctr_ratio", "head", "first_bucket", "buckets"]


def plan_domains(encoded: EncodedRows, labelled: bool, config: Config) -> DataFrame:
    """Returns PLAN of all domains: domains of earlier builds keep their buckets, new domains get new ones."""
    domains = tables.read(encoded.rows.sparkSession, config.table("domains"))
    new = size_domains(encoded.rows, encoded.keys["domain"].new, labelled, config)
    first_free = aggregate(domains, F.max(F.col("first_bucket") + F.col("buckets")))[0]
    all_tail = replace(config.data, head_rows=config.data.synthetic.samples)
    planned = plan_buckets(new, all_tail).withColumn("first_bucket", F.col("first_bucket") + F.lit(first_free))
    return domains.select(PLAN).unionByName(planned.select(PLAN))


def changed_rows(log: DataFrame, plan: DataFrame, samples: DataFrame) -> DataFrame:
    """Selects the rows of `log` that are no sample yet, or whose label differs from that of the sample.

    Adds bucket, ctr_ratio and split: the split of the sample, else of the log, else null.
    """
    rows = assign_buckets(log, plan, labelled=True)
    buckets = [row["bucket"] for row in rows.select("bucket").distinct().collect()]
    stored = samples.where(F.col("bucket").isin(buckets))
    stored = stored.select(*ID_ORDER, F.col(LABEL).alias("_label"), F.col("split").alias("_split"))
    split_of_log = F.col("split") if "split" in log.columns else F.lit(None).cast("string")
    return (
        rows.join(stored, SAMPLE_KEY, "left")
        .where("_label IS NULL OR _label != label")
        .withColumn("split", F.coalesce("_split", split_of_log))
        .drop("_label", "_split")
    )


def rewrite_buckets(
    changed: DataFrame,
    plan: DataFrame,
    samples: DataFrame,
    owners: Mapping[str, DataFrame],
    labelled: bool,
    config: Config,
) -> None:
    """Writes the buckets of the rows `changed` again, together with the samples in them that stay.

    Args:
        changed: see `changed_rows`.
        plan: see `plan_domains`.
        samples: the table as it was before this build.
        owners: by user or item, if it has features, the table as it will be.
    """
    buckets = [row["bucket"] for row in changed.select("bucket").distinct().collect()]
    ratios = F.broadcast(plan.select("domain_id", "ctr_ratio"))
    staying = samples.where(F.col("bucket").isin(buckets))
    staying = staying.join(changed, SAMPLE_KEY, "left_anti").join(ratios, "domain_id")
    of_owners = {
        name: kind for owner in owners for name, kind in encoded_columns(owned_by(config.data.features, owner)).items()
    }
    rows = changed.withColumn("final", F.lit(False))
    rows = rows.withColumns({name: F.lit(None).cast(kind) for name, kind in of_owners.items()})
    rows = rows.unionByName(staying.withColumn("final", F.lit(True)).select(rows.columns))
    if not labelled:
        earlier = samples.join(changed.select("domain_id").distinct(), "domain_id", "left_semi")
        earlier = earlier.select("domain_id", "item_id")
        pools = assign_buckets(changed.select(*ID_ORDER, LABEL), plan, labelled, earlier)
        pools = pools.where(F.col("user_id").isNull() & F.col("bucket").isin(buckets))
        rows = rows.unionByName(pools.withColumn("final", F.lit(False)), allowMissingColumns=True)
    by_id = {f"{owner}_id": frame for owner, frame in owners.items()}
    made = make_samples(rows, config.data, config.seed, labelled, by_id)
    tables.replace_buckets(made, config.table("samples"), buckets)


def domains_with_deleted_rows(samples: DataFrame, config: Config) -> DataFrame:
    """Returns the domain_id of domains whose samples are fewer than the table domains says: rows were deleted."""
    spark = samples.sparkSession
    domains = tables.read(spark, config.table("domains")).select("domain_id", "rows")
    counts = spark.sql(tables.statement("queries/counts", samples="{samples}"), samples=samples)
    counts = counts.select("domain_id", F.col("rows").alias("counted"))
    return domains.join(counts, "domain_id", "left").where("NOT rows <=> counted").select("domain_id")


def describe_changed(plan: DataFrame, config: Config) -> None:
    """Updates the table domains for the domains of `plan`, whose samples have changed."""
    spark, path = plan.sparkSession, config.table("domains")
    of_domains = plan.select(F.explode(F.expr("sequence(first_bucket, first_bucket + buckets - 1)")).alias("bucket"))
    buckets = [row["bucket"] for row in of_domains.distinct().collect()]
    samples = tables.read(spark, config.table("samples")).where(F.col("bucket").isin(buckets))
    counts = [F.countDistinct(f"{owner}_id").alias(f"{owner}s") for owner in ("user", "item")]
    described = describe_domains(plan.join(samples.groupBy("domain_id").agg(*counts), "domain_id"), samples)
    others = tables.read(spark, path).join(plan, "domain_id", "left_anti")
    tables.overwrite(others.unionByName(described), "domains", path)
