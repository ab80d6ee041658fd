"""Plans which buckets a domain's samples go to: whole tail domains share buckets, head domains fill several."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.samples.ids import with_running_total
from pipelines.samples.negatives import negative_count_column
from training.config import Config, DataConfig


def ctr_ratio(data: DataConfig, seed: int) -> Column:
    """Returns a domain's CTR ratio: the configured value, or a draw by (seed, domain_key), rounded to two digits."""
    if data.ctr_ratio is not None:
        return F.lit(float(data.ctr_ratio))
    low, high = data.ctr_range
    share = F.pmod(F.xxhash64(F.lit(seed), "domain_key"), F.lit(1_000_003)) / F.lit(1_000_002.0)
    return F.round(F.lit(low) + share * F.lit(high - low), 2)


def size_domains(log: DataFrame, domain_ids: DataFrame, labelled: bool, config: Config) -> DataFrame:
    """Draws the CTR ratio of the domains `domain_ids` (key, id) and counts their samples; see `count_samples`."""
    domains = domain_ids.select(F.col("id").cast("int").alias("domain_id"), F.col("key").alias("domain_key"))
    ratio = F.lit(None).cast("double") if labelled else ctr_ratio(config.data, config.seed)
    return count_samples(log, domains.withColumn("ctr_ratio", ratio), labelled)


def count_samples(log: DataFrame, domains: DataFrame, labelled: bool) -> DataFrame:
    """Counts the samples that each domain will have, before any negative is drawn, and its users and items.

    Args:
        log: domain_id, user_id, item_id; one row per clean row of the log.
        domains: domain_id, domain_key, ctr_ratio.
        labelled: whether the log has labels, so that no negatives are drawn.

    Returns:
        `domains` with items BIGINT, rows BIGINT, users BIGINT.
    """
    items = domains.join(log.groupBy("domain_id").agg(F.countDistinct("item_id").alias("items")), "domain_id")
    liked = [] if labelled else [F.countDistinct("item_id").alias("liked")]
    of_users = log.groupBy("domain_id", "user_id").agg(F.count("*").alias("rows"), *liked)
    rows = F.col("rows")
    if not labelled:
        of_users = of_users.join(items, "domain_id")
        rows += negative_count_column(F.col("rows"), F.col("liked"), F.col("items"), F.col("ctr_ratio"))
    counts = of_users.groupBy("domain_id").agg(F.sum(rows).alias("rows"), F.count("*").alias("users"))
    return items.join(counts, "domain_id")


def plan_buckets(domains: DataFrame, data: DataConfig) -> DataFrame:
    """Adds head BOOLEAN, first_bucket INT and buckets INT to `domains` (domain_key, rows).

    A domain of more than `data.head_rows` rows is a head domain; it takes ceil(rows / bucket_rows) buckets, which no
    other domain shares. Tail domains are lined up, and the line is cut every `bucket_rows` rows. A tail domain goes
    to the bucket that its middle row falls into, so a bucket holds at most bucket_rows + head_rows rows.

    | rows | head  | (middle) | first_bucket | buckets |      with bucket_rows = 10, head_rows = 5
    | 4    | false | 2        | 0            | 1       |
    | 5    | false | 6        | 0            | 1       |
    | 5    | false | 11       | 1            | 1       |
    | 25   | true  |          | 2            | 3       |
    """
    head_rows = data.head_rows if data.head_rows is not None else data.bucket_rows // 2
    with_head = domains.withColumn("head", F.col("rows") > head_rows)
    tail_rows = F.when(F.col("head"), 0).otherwise(F.col("rows"))
    head_buckets = F.when(F.col("head"), F.ceil(F.col("rows") / data.bucket_rows)).otherwise(0)
    line = with_running_total(with_head, "domain_key", tail_rows, "_rows_before")
    line = with_running_total(line, "domain_key", head_buckets, "_buckets_before")
    middle = F.floor((F.col("_rows_before") + F.col("rows") / 2) / data.bucket_rows)
    tail_buckets = line.where("NOT head").agg(F.coalesce(F.max(middle) + 1, F.lit(0)).alias("_tail_buckets"))
    first = F.when(F.col("head"), F.col("_tail_buckets") + F.col("_buckets_before")).otherwise(middle)
    return (
        line.crossJoin(F.broadcast(tail_buckets))
        .withColumn("first_bucket", first.cast("int"))
        .withColumn("buckets", F.greatest(head_buckets, F.lit(1)).cast("int"))
        .drop("_rows_before", "_buckets_before", "_tail_buckets")
    )


def assign_buckets(log: DataFrame, plan: DataFrame, labelled: bool, earlier: DataFrame | None = None) -> DataFrame:
    """Assigns rows to the buckets of their domain, all rows of a user to the same one, and adds item pools.

    Args:
        earlier: (domain_id, item_id) of earlier builds, which belong to the item pools too.

    Returns:
        The columns of `log`, bucket, ctr_ratio. Where negatives are drawn, each bucket of a domain with several
        buckets also gets every item of the domain once, in a row whose user_id and label are null.
    """
    planned = F.broadcast(plan.select("domain_id", "first_bucket", "buckets", "ctr_ratio"))
    columns = [*log.columns, "bucket", "ctr_ratio"]
    offset = F.pmod(F.xxhash64("user_id"), F.col("buckets"))
    rows = log.join(planned, "domain_id").withColumn("bucket", (F.col("first_bucket") + offset).cast("int"))
    if labelled:
        return rows.select(columns)
    items = log.select("domain_id", "item_id")
    pools = (
        (items if earlier is None else items.unionByName(earlier))
        .join(planned, "domain_id")
        .where("buckets > 1")
        .select("domain_id", "item_id", "first_bucket", "buckets", "ctr_ratio")
        .distinct()
        .withColumn("bucket", F.explode(F.expr("sequence(first_bucket, first_bucket + buckets - 1)")))
        .select("domain_id", "item_id", "bucket", "ctr_ratio")
    )
    return rows.select(columns).unionByName(pools, allowMissingColumns=True)
