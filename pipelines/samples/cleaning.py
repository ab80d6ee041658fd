"""From the raw log to kept rows and rejects: in = kept + rejected + duplicates."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from pipelines.samples.splits import SPLITS
from pipelines.sources.files import FAULT, MALFORMED
from training.config import DataConfig, FeatureConfig, seconds_of
from training.errors import UserError

KEYS = ("user", "item", "domain")
PAIR = ("domain", "user", "item")
PARSED = (*KEYS, "label", "time", "event", "row", "column", "reason")

Features = Mapping[str, FeatureConfig]  # by name
NO_FEATURES: Features = MappingProxyType({})


def parse(raw: DataFrame, positive_at: float | None = None, features: Features = NO_FEATURES) -> DataFrame:
    """Types the raw strings and marks the rows that cannot be used.

    | user | item | domain | label |      | user | item | domain | label | time | event | column | reason       |
    | u1   | i1   | a      | 1     |  ->  | u1   | i1   | a      | 1.0   | null | null  | null   | null         |
    | u1   | null | a      | 1     |      | u1   | null | a      | 1.0   | null | null  | item   | null         |
    | u1   | i1   | a      | x     |      | u1   | i1   | a      | null  | null | null  | label  | not a number |

    `label` is 1.0 where the log has no labels, (label >= positive_at) where `positive_at` is given. `row` is the
    raw row as JSON. `column` and `reason` name the first fault of a row, null in a good one. Of a log that has them,
    `split` and features follow, see `_feature_value`.
    """
    number = _number("label") if "label" in raw.columns else F.lit(1.0)
    label = number if positive_at is None else (number >= positive_at).cast("double")
    time = parsed_time()
    values = {name: _feature_value(raw, name, feature) for name, feature in features.items()}
    columns = {
        **{key: F.col(key) for key in KEYS},
        "label": label,
        "time": time if "time" in raw.columns else F.lit(None).cast("double"),
        "event": F.col("event") if "event" in raw.columns else F.lit(None).cast("string"),
        "row": F.to_json(F.struct(*[F.col(name) for name in raw.columns if name != FAULT])),
    }
    numbers = {name: values[name] for name, feature in features.items() if feature.kind == "dense"}
    fault = _first_fault(raw, label, columns["time"], numbers)
    return raw.select(
        *[value.alias(name) for name, value in columns.items()],
        fault["column"].alias("column"),
        fault["reason"].alias("reason"),
        *(["split"] if "split" in raw.columns else []),
        *[value.alias(name) for name, value in values.items()],
    )


def parsed_time() -> Column:
    """The string column time as seconds since 1970, if it is a timestamp, or as the number that it holds."""
    return F.coalesce(_number("time"), F.expr("unix_micros(try_cast(time AS TIMESTAMP)) / 1e6"))


def split_by_time(parsed: DataFrame, val_from: float, test_from: float) -> DataFrame:
    """Adds the split of each row by its time; a row without one is marked as a reject.

    | time | reason |      | time | reason | split |      with val_from = 10, test_from = 20
    | 9    | null   |  ->  | 9    | null   | train |
    | 10   | null   |      | 10   | null   | val   |
    | null | null   |      | null | null   | test  |      column "time", reason "null"
    """
    timeless = F.col("reason").isNull() & F.col("time").isNull()
    split = F.when(F.col("time") < val_from, SPLITS[0]).when(F.col("time") < test_from, SPLITS[1]).otherwise(SPLITS[2])
    return parsed.withColumns(
        {
            "column": F.when(timeless, "time").otherwise(F.col("column")),
            "reason": F.when(timeless, "null").otherwise(F.col("reason")),
            "split": split,
        }
    )


def _number(column: str) -> Column:
    """The number that the string holds; null where it holds none, NaN or an infinity."""
    number = F.expr(f"try_cast({column} AS DOUBLE)")
    return F.when(F.abs(number) < float("inf"), number)  # NaN is larger than any other


def _feature_value(raw: DataFrame, name: str, feature: FeatureConfig) -> Column:
    """The value of a feature in a row, typed.

    | kind     | in the log      | value      |
    | category | "a"             | "a"        |
    | dense    | "1.5"           | 1.5        |
    | list     | "a||b"          | ["a", "b"] |   the last `length` that are not empty
    | sequence | ["7", null]     | ["7"]      |   all: which ones have an id is not known yet
    """
    if feature.kind == "category":
        return F.col(name)
    if feature.kind == "dense":
        return _number(name)
    separated = not isinstance(raw.schema[name].dataType, ArrayType)
    values = F.split(name, re.escape(feature.separator)) if separated else F.col(name)
    values = F.filter(values, lambda value: value != "")
    return last(values, feature.length) if feature.kind == "list" else values


def last(values: Column, length: int) -> Column:
    """The last `length` of an array, or all."""
    return F.slice(values, F.greatest(F.size(values) - length, F.lit(0)) + 1, length)


def _first_fault(raw: DataFrame, label: Column, time: Column, numbers: Mapping[str, Column]) -> Column:
    faults = [(F.col(MALFORMED).isNotNull(), "line", "malformed")]
    faults += [(F.col(key).isNull(), key, "null") for key in KEYS]
    if "label" in raw.columns:
        faults.append((F.col("label").isNull(), "label", "null"))
        faults.append((label.isNull(), "label", "not a number"))
    if "time" in raw.columns:
        faults.append((F.col("time").isNotNull() & time.isNull(), "time", "not a number or timestamp"))
    if "split" in raw.columns:
        known = F.coalesce(F.col("split").isin(SPLITS.tolist()), F.lit(False))
        faults.append((~known, "split", "not train, val or test"))
    faults += [(F.col(name).isNotNull() & value.isNull(), name, "not a number") for name, value in numbers.items()]
    found = [
        F.when(condition, F.struct(F.lit(column).alias("column"), F.lit(reason).alias("reason")))
        for condition, column, reason in faults
    ]
    return F.coalesce(*found, *([F.col(FAULT)] if FAULT in raw.columns else []))


def read_rows(raw: DataFrame, data: DataConfig, positive_at: float | None) -> DataFrame:
    """`parse`, and the split by time where there is one."""
    parsed = parse(raw, positive_at, data.features)
    return parsed if data.split_at is None else split_by_time(parsed, *map(seconds_of, data.split_at))


def rejects(parsed: DataFrame) -> DataFrame:
    """The rows that cannot be used: row (JSON), column, reason."""
    return parsed.where("reason IS NOT NULL").select("row", "column", "reason")


def check_labels(parsed: DataFrame) -> None:
    """Raises UserError if a good row has another label than 0 and 1."""
    wrong = parsed.where("reason IS NULL AND label NOT IN (0, 1)").groupBy("label").count().orderBy("label").first()
    if wrong is not None:
        raise UserError(
            f"label {wrong['label']:g} ({wrong['count']} rows) is neither 0 nor 1: "
            "set data.positive_at to the value from which a label is positive"
        )


def deduplicate(parsed: DataFrame) -> DataFrame:
    """Keeps one row for each (domain, user, item, event): the latest, and of equals the larger label.

    | domain | user | item | label | time |      | domain | user | item | time | label | copies |
    | a      | u1   | i1   | 1     | 1    |  ->  | a      | u1   | i1   | 2    | 0     | 2      |
    | a      | u1   | i1   | 0     | 2    |

    A row without a time counts as the earliest; labels are 0 or 1. `copies` is how many rows the kept one stands for.
    Of rows that agree in all of this, split and features decide.
    """
    further = [name for name in parsed.columns if name not in PARSED]
    # by user first: what follows joins by users, and needs no shuffle then
    groups = parsed.where("reason IS NULL").repartition("user").groupBy(*PAIR, "event")
    copies = F.count("*").alias("copies")
    if further:
        latest = F.max(F.struct("time", "label", *further)).alias("latest")
        return groups.agg(latest, copies).select(*PAIR, "latest.*", "copies")
    # the same by maxima of numbers, which Spark finds by hashing, where that of structs costs it a sort of all keys
    time = F.coalesce("time", F.lit(float("-inf")))
    label = F.coalesce((F.max(F.when(F.col("label") == 1, time)) == F.max(time)).cast("double"), F.lit(0.0))
    return groups.agg(F.max("time").alias("time"), label.alias("label"), copies).drop("event")
