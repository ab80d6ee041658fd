"""Numbers keys densely, by running totals that need no window over all rows."""

from collections.abc import Callable, Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from training.column_names import ID_ORDER, KEY_ORDER, LABEL

SLICES = 1024  # part of the contract: another number of slices gives other ids


def with_running_total(frame: DataFrame, key: str, value: Column, name: str) -> DataFrame:
    """Adds `name`: the sum of `value` over all earlier rows, in the order of the hash of `key`, then of `key`.

    | key | value |      | key | value | name |
    | a   | 2     |  ->  | a   | 2     | 0    |
    | c   | 1     |      | c   | 1     | 2    |
    | b   | 5     |      | b   | 5     | 3    |

    Rows are ordered by 1,024 hash slices of the keys, and by key within a slice. So the result depends on the keys
    alone, under any partitioning. A window sees one slice, and only the sums of the slices reach the driver. `key`
    must be unique; `frame` is evaluated twice.
    """
    sliced = frame.withColumn("_slice", F.pmod(F.xxhash64(key), F.lit(SLICES)).cast("int"))
    sums = {row[0]: row[1] for row in sliced.groupBy("_slice").agg(F.sum(value)).collect()}
    starts, total = [], 0
    for index in range(SLICES):
        starts.append(total)
        total += sums.get(index, 0)
    before = Window.partitionBy("_slice").orderBy(key).rowsBetween(Window.unboundedPreceding, -1)
    texts = F.split(F.lit(",".join(map(str, starts))), ",")  # one literal: 1,024 of them take seconds to analyse
    start = F.element_at(texts.cast("array<bigint>"), F.col("_slice") + 1)
    running = start + F.coalesce(F.sum(value).over(before), F.lit(0))
    return sliced.withColumn(name, running.cast("bigint")).drop("_slice")


def dense_ids(
    frame: DataFrame, column: str, persist: Callable[[DataFrame], DataFrame], earlier: DataFrame | None = None
) -> DataFrame:
    """Assigns ids 0, 1, 2, ... to the distinct values of `column`: (key STRING, id BIGINT).

    Args:
        persist: keeps the distinct values, which are otherwise computed twice.
        earlier: (key, id) with dense ids. Its keys are left out, and the new ids follow its ids.
    """
    keys, first = frame.select(F.col(column).alias("key")), 0
    if earlier is not None:
        keys, first = keys.join(earlier, "key", "left_anti"), earlier.count()
    with_ids = with_running_total(persist(keys.distinct()), "key", F.lit(1), "id")
    return with_ids.withColumn("id", F.col("id") + first) if first else with_ids


def replace_keys(
    log: DataFrame, domains: DataFrame, users: DataFrame, items: DataFrame, further: Sequence[str] = ()
) -> DataFrame:
    """Replaces keys by ids: domain_id INT, user_id BIGINT, item_id BIGINT, label FLOAT, and the columns `further`.

    Args:
        domains, users, items: (key, id), of every key in `log`.
    """
    result = log
    for key, name, ids in zip(KEY_ORDER, ID_ORDER, (domains, users, items), strict=True):
        renamed = ids.select(F.col("key").alias(key), F.col("id").alias(name))
        result = result.join(F.broadcast(renamed) if key == "domain" else renamed, key)
    return result.select(
        F.col("domain_id").cast("int"), "user_id", "item_id", F.col(LABEL).cast("float").alias(LABEL), *further
    )
