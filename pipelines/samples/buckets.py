"""Which bucket a row goes to: whole tail domains packed into buckets, head domains spread over several."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.samples.cleaning import PAIR
from pipelines.samples.ids import with_running_total
from training.config import DataConfig


def ctr_ratio(data: DataConfig, seed: int) -> Column:
    """The domain's CTR ratio: the configured one, or drawn by (seed, domain_key) and rounded to two digits."""
    if data.ctr_ratio is not None:
        return F.lit(float(data.ctr_ratio))
    low, high = data.ctr_range
    share = F.pmod(F.xxhash64(F.lit(seed), "domain_key"), F.lit(1_000_003)) / F.lit(1_000_002.0)
    return F.round(F.lit(low) + share * F.lit(high - low), 2)


def samples_by_domain(log: DataFrame, domains: DataFrame, labelled: bool) -> DataFrame:
    """Counts the samples that each domain will have, before any negative is drawn, and its users and items.

    Args:
        log: domain_id, user_id, item_id, one row a kept row of the log.
        domains: domain_id, domain_key, ctr_ratio.
        labelled: whether the log has its own labels, so that no negatives are drawn.

    Returns:
        `domains` with items BIGINT, rows BIGINT, users BIGINT.
    """
    items = domains.join(log.groupBy("domain_id").agg(F.countDistinct("item_id").alias("items")), "domain_id")
    liked = [] if labelled else [F.countDistinct("item_id").alias("liked")]
    of_users = log.groupBy("domain_id", "user_id").agg(F.count("*").alias("rows"), *liked)
    rows = F.col("rows")
    if not labelled:
        of_users = of_users.join(items, "domain_id")
        rows += F.least(F.floor(F.col("rows") / F.col("ctr_ratio")), F.col("items") - F.col("liked"))
    counts = of_users.groupBy("domain_id").agg(F.sum(rows).alias("rows"), F.count("*").alias("users"))
    return items.join(counts, "domain_id")


def plan_buckets(domains: DataFrame, data: DataConfig) -> DataFrame:
    """Adds head BOOLEAN, first_bucket INT and buckets INT to `domains` (domain_key, rows).

    A domain of more than `data.head_rows` rows is a head domain and takes ceil(rows / bucket_rows) buckets of its
    own. The others stand in one line, and the line is cut every `bucket_rows` rows; a domain goes where its middle
    falls, so a bucket holds whole tail domains and at most bucket_rows + head_rows rows.

    | rows | head  | (middle) | first_bucket | buckets |      with bucket_rows = 10, head_rows = 5
    | 4    | false | 2        | 0            | 1       |
    | 5    | false | 6        | 0            | 1       |
    | 5    | false | 11       | 1            | 1       |
    | 25   | true  |          | 2            | 3       |
    """
    head_rows = data.head_rows if data.head_rows is not None else data.bucket_rows // 2
    marked = domains.withColumn("head", F.col("rows") > head_rows)
    tail_rows = F.when(F.col("head"), 0).otherwise(F.col("rows"))
    own_buckets = F.when(F.col("head"), F.ceil(F.col("rows") / data.bucket_rows)).otherwise(0)
    line = with_running_total(marked, "domain_key", tail_rows, "_rows_before")
    line = with_running_total(line, "domain_key", own_buckets, "_buckets_before")
    middle = F.floor((F.col("_rows_before") + F.col("rows") / 2) / data.bucket_rows)
    tail_buckets = line.where("NOT head").agg(F.coalesce(F.max(middle) + 1, F.lit(0)).alias("_tail_buckets"))
    first = F.when(F.col("head"), F.col("_tail_buckets") + F.col("_buckets_before")).otherwise(middle)
    return (
        line.crossJoin(F.broadcast(tail_buckets))
        .withColumn("first_bucket", first.cast("int"))
        .withColumn("buckets", F.greatest(own_buckets, F.lit(1)).cast("int"))
        .drop("_rows_before", "_buckets_before", "_tail_buckets")
    )


def assign_buckets(log: DataFrame, plan: DataFrame, labelled: bool, met: DataFrame | None = None) -> DataFrame:
    """Gives each row its bucket, a user's rows of a domain the same one, and adds the item pools of head domains.

    Args:
        met: (domain_id, item_id) of earlier builds, which belong to those pools too.

    Returns:
        The columns of `log`, bucket, ctr_ratio. Where negatives are to be drawn, each bucket of a domain with several
        of them also gets every item of the domain once, with a null user_id and label.
    """
    placed = F.broadcast(plan.select("domain_id", "first_bucket", "buckets", "ctr_ratio"))
    columns = [*log.columns, "bucket", "ctr_ratio"]
    part = F.pmod(F.xxhash64("user_id"), F.col("buckets"))
    rows = log.join(placed, "domain_id").withColumn("bucket", (F.col("first_bucket") + part).cast("int"))
    if labelled:
        return rows.select(columns)
    items = log.select("domain_id", "item_id")
    pools = (
        (items if met is None else items.unionByName(met))
        .join(placed, "domain_id")
        .where("buckets > 1")
        .select("domain_id", "item_id", "first_bucket", "buckets", "ctr_ratio")
        .distinct()
        .withColumn("bucket", F.explode(F.expr("sequence(first_bucket, first_bucket + buckets - 1)")))
        .select("domain_id", "item_id", "bucket", "ctr_ratio")
    )
    return rows.select(columns).unionByName(pools, allowMissingColumns=True)


def describe_domains(plan: DataFrame, samples: DataFrame) -> DataFrame:
    """The rows of the table domains: what is planned of each, with users and items, and what `samples` have of it."""
    counts = tables.statement("queries/counts", samples="{samples}")
    query = tables.statement("queries/domains", plan="{plan}", counts=counts)
    return plan.sparkSession.sql(query, plan=plan, samples=samples)


def with_ids(
    kept: DataFrame, domains: DataFrame, users: DataFrame, items: DataFrame, further: Sequence[str] = ()
) -> DataFrame:
    """Replaces the keys of kept rows by ids: domain_id INT, user_id BIGINT, item_id BIGINT, label FLOAT, `further`."""
    result = kept
    for name, ids in zip(PAIR, (domains, users, items), strict=True):
        renamed = ids.select(F.col("key").alias(name), F.col("id").alias(f"{name}_id"))
        result = result.join(F.broadcast(renamed) if name == "domain" else renamed, name)
    return result.select(
        F.col("domain_id").cast("int"), "user_id", "item_id", F.col("label").cast("float").alias("label"), *further
    )
