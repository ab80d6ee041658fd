"""From the raw log to kept rows and rejects: in = kept + rejected + duplicates."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

KEYS = ("user", "item", "domain")
PAIR = ("domain", "user", "item")


def parse(raw: DataFrame, positive_at: float | None = None) -> DataFrame:
    """Types the raw strings and marks the rows that cannot be used.

    | user | item | domain | label |      | user | item | domain | label | time | event | column | reason       |
    | u1   | i1   | a      | 1     |  ->  | u1   | i1   | a      | 1.0   | null | null  | null   | null         |
    | u1   | null | a      | 1     |      | u1   | null | a      | 1.0   | null | null  | item   | null         |
    | u1   | i1   | a      | x     |      | u1   | i1   | a      | null  | null | null  | label  | not a number |

    `label` is 1.0 where the log has no labels, (label >= positive_at) where `positive_at` is given. `row` is the
    raw row as JSON. `column` and `reason` name the first fault of a row, null in a good one.
    """
    number = _number("label") if "label" in raw.columns else F.lit(1.0)
    label = number if positive_at is None else (number >= positive_at).cast("double")
    time = F.coalesce(_number("time"), F.expr("unix_micros(try_cast(time AS TIMESTAMP)) / 1e6"))
    columns = {
        **{key: F.col(key) for key in KEYS},
        "label": label,
        "time": time if "time" in raw.columns else F.lit(None).cast("double"),
        "event": F.col("event") if "event" in raw.columns else F.lit(None).cast("string"),
        "row": F.to_json(F.struct(*[F.col(name) for name in raw.columns])),
    }
    fault = _first_fault(raw, label, columns["time"])
    return raw.select(
        *[value.alias(name) for name, value in columns.items()],
        fault["column"].alias("column"),
        fault["reason"].alias("reason"),
    )


def _number(column: str) -> Column:
    """The number that the string holds; null where it holds none, or NaN, which is larger than any other."""
    number = F.expr(f"try_cast({column} AS DOUBLE)")
    return F.when(~F.isnan(number), number)


def _first_fault(raw: DataFrame, label: Column, time: Column) -> Column:
    faults = [(F.col("_malformed").isNotNull(), "line", "malformed")]
    faults += [(F.col(key).isNull(), key, "null") for key in KEYS]
    if "label" in raw.columns:
        faults.append((F.col("label").isNull(), "label", "null"))
        faults.append((label.isNull(), "label", "not a number"))
    if "time" in raw.columns:
        faults.append((F.col("time").isNotNull() & time.isNull(), "time", "not a number or timestamp"))
    found = [
        F.when(condition, F.struct(F.lit(column).alias("column"), F.lit(reason).alias("reason")))
        for condition, column, reason in faults
    ]
    return F.coalesce(*found)


def rejects(parsed: DataFrame) -> DataFrame:
    """The rows that cannot be used: row (JSON), column, reason."""
    return parsed.where("reason IS NOT NULL").select("row", "column", "reason")


def deduplicate(parsed: DataFrame) -> DataFrame:
    """Keeps one row for each (domain, user, item, event): the latest, and of equals the larger label.

    | domain | user | item | label | time |      | domain | user | item | label | copies |
    | a      | u1   | i1   | 1     | 1    |  ->  | a      | u1   | i1   | 0     | 2      |
    | a      | u1   | i1   | 0     | 2    |

    A row without a time counts as the earliest. `copies` is how many rows the kept one stands for.
    """
    latest = F.max(F.struct("time", "label"))["label"]
    return (
        parsed.where("reason IS NULL")
        .groupBy(*PAIR, "event")
        .agg(latest.alias("label"), F.count("*").alias("copies"))
        .drop("event")
    )
