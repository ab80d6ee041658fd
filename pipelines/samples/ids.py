"""Running totals without a window over everything, and the dense ids and buckets that follow from them."""

from collections.abc import Callable

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

SLICES = 1024  # a constant of the tables' ids: another number gives other ids


def with_running_total(frame: DataFrame, key: str, value: Column, name: str) -> DataFrame:
    """Adds `name`: the sum of `value` over all rows that stand before this one, by the hash of `key`, then `key`.

    | key | value |      | key | value | name |
    | a   | 2     |  ->  | a   | 2     | 0    |
    | b   | 5     |      | b   | 5     | 2    |
    | c   | 1     |      | c   | 1     | 7    |

    The order is that of 1,024 hash slices of the keys and of the keys within a slice, so the result follows from
    the keys alone, under any partitioning. A window sees one slice; of the slices only their sums reach the
    driver. `key` must be unique; `frame` is evaluated twice.
    """
    sliced = frame.withColumn("_slice", F.pmod(F.xxhash64(key), F.lit(SLICES)).cast("int"))
    sums = dict(sliced.groupBy("_slice").agg(F.sum(value)).collect())
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
    frame: DataFrame, column: str, persist: Callable[[DataFrame], DataFrame], known: DataFrame | None = None
) -> DataFrame:
    """(key STRING, id BIGINT): the distinct values of `column` with ids 0, 1, 2, ...

    They are found once where `persist` keeps what it is given, and each time that they are asked for otherwise.

    Args:
        known: (key, id) with dense ids: its keys are left out, and the ids go on behind its.
    """
    keys, first = frame.select(F.col(column).alias("key")), 0
    if known is not None:
        keys, first = keys.join(known, "key", "left_anti"), known.count()
    numbered = with_running_total(persist(keys.distinct()), "key", F.lit(1), "id")
    return numbered.withColumn("id", F.col("id") + first) if first else numbered
