"""Cleans the raw log: parses its rows, rejects the faulty ones and removes duplicates."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from pipelines.samples.splits import SPLITS
from pipelines.sources.files import FAULT, MALFORMED
from training.column_names import KEY_ORDER, KEYS, LABEL
from training.config import DataConfig, FeatureConfig, seconds_of
from training.errors import UserError

PARSED = (*KEYS, LABEL, "time", "event", "row", "column", "reason")

Features = Mapping[str, FeatureConfig]  # by name
NO_FEATURES: Features = MappingProxyType({})


def parse(raw: DataFrame, positive_at: float | None = None, features: Features = NO_FEATURES) -> DataFrame:
    """Converts the raw strings to typed values, and adds the first fault of each row.

    | user | item | domain | label |      | user | item | domain | label | time | event | column | reason       |
    | u1   | i1   | a      | 1     |  ->  | u1   | i1   | a      | 1.0   | null | null  | null   | null         |
    | u1   | null | a      | 1     |      | u1   | null | a      | 1.0   | null | null  | item   | "null"       |
    | u1   | i1   | a      | x     |      | u1   | i1   | a      | null  | null | null  | label  | not a number |

    `label` is 1.0 if the log has no labels, and (label >= positive_at) if `positive_at` is given. `column` and `reason`
    name the first fault of a row and are null in a good row. Three more columns are not shown: `row`, the raw row as
    JSON; `split`, if the log has one; and one column per feature, see `_feature_value`.
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
    """Parses the string column time: a number stays, a timestamp becomes seconds since 1970."""
    return F.coalesce(_number("time"), F.expr("unix_micros(try_cast(time AS TIMESTAMP)) / 1e6"))


def split_by_time(parsed: DataFrame, val_from: float, test_from: float) -> DataFrame:
    """Adds the split of each row by its time, and rejects rows without a time.

    | time | reason |      | time | column | reason | split |      with val_from = 10, test_from = 20
    | 9    | null   |  ->  | 9    | null   | null   | train |
    | 10   | null   |      | 10   | null   | null   | val   |
    | null | null   |      | null | time   | "null" | test  |
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
    """Parses a string column as a number; NaN, infinities and other strings give null."""
    number = F.expr(f"try_cast({column} AS DOUBLE)")
    return F.when(F.abs(number) < float("inf"), number)  # NaN is larger than any other


def _feature_value(raw: DataFrame, name: str, feature: FeatureConfig) -> Column:
    """Returns the value of a feature in a row, typed.

    | kind     | in the log      | value      |
    | category | "a"             | "a"        |
    | dense    | "1.5"           | 1.5        |
    | list     | "a||b"          | ["a", "b"] |
    | sequence | ["7", null]     | ["7"]      |

    A list is cut to its last `length` non-empty values. A sequence is cut after encoding, since keys without an id are
    dropped from it.
    """
    if feature.kind == "category":
        return F.col(name)
    if feature.kind == "dense":
        return _number(name)
    separated = not isinstance(raw.schema[name].dataType, ArrayType)
    values = F.split(name, re.escape(feature.separator)) if separated else F.col(name)
    values = F.filter(values, lambda value: value != "")
    return last_values(values, feature.length) if feature.kind == "list" else values


def last_values(values: Column, length: int) -> Column:
    """Returns the last `length` values of an array; all if it has fewer."""
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
        is_split = F.coalesce(F.col("split").isin(SPLITS.tolist()), F.lit(False))
        faults.append((~is_split, "split", "not train, val or test"))
    faults += [(F.col(name).isNotNull() & value.isNull(), name, "not a number") for name, value in numbers.items()]
    structs = [
        F.when(condition, F.struct(F.lit(column).alias("column"), F.lit(reason).alias("reason")))
        for condition, column, reason in faults
    ]
    return F.coalesce(*structs, *([F.col(FAULT)] if FAULT in raw.columns else []))


def read_rows(raw: DataFrame, data: DataConfig, positive_at: float | None) -> DataFrame:
    """Parses the log, and splits it by time if data.split_at is set."""
    parsed = parse(raw, positive_at, data.features)
    if data.split_at is None:
        return parsed
    val_from, test_from = (to_seconds(time) for time in data.split_at)
    return split_by_time(parsed, val_from, test_from)


def to_seconds(time: str) -> float:
    """Converts a time of the config to a number, as `parsed_time` does for the log. Raises UserError."""
    seconds = seconds_of(time)
    if seconds is None:
        raise UserError(f'time "{time}" is neither a number nor a timestamp: correct data.since, .until or .split_at')
    return seconds


def rejects(parsed: DataFrame) -> DataFrame:
    """Returns the rows that cannot be used: row (JSON), column, reason."""
    return parsed.where("reason IS NOT NULL").select("row", "column", "reason")


def check_labels(parsed: DataFrame) -> None:
    """Raises UserError if a good row has a label other than 0 and 1."""
    wrong = parsed.where("reason IS NULL AND label NOT IN (0, 1)").groupBy("label").count().orderBy("label").first()
    if wrong is not None:
        raise UserError(
            f"label {wrong['label']:g} ({wrong['count']} rows) is neither 0 nor 1: "
            "set data.positive_at to the value from which a label is positive"
        )


def deduplicate(parsed: DataFrame) -> DataFrame:
    """Keeps one row for each (domain, user, item, event): the latest, and of ties the one with the larger label.

    | domain | user | item | label | time |      | domain | user | item | time | label | copies |
    | a      | u1   | i1   | 1     | 1    |  ->  | a      | u1   | i1   | 2    | 0     | 2      |
    | a      | u1   | i1   | 0     | 2    |

    A row without a time counts as the earliest. Labels are 0 or 1. `copies` counts the rows that became one. Rows that
    tie in time and label are ordered by split and features.
    """
    further = [name for name in parsed.columns if name not in PARSED]
    # repartition by user first: later joins by user then need no shuffle
    groups = parsed.where("reason IS NULL").repartition("user").groupBy(*KEY_ORDER, "event")
    copies = F.count("*").alias("copies")
    if further:
        latest = F.max(F.struct("time", "label", *further)).alias("latest")
        return groups.agg(latest, copies).select(*KEY_ORDER, "latest.*", "copies")
    # maxima of numbers give the same result by hash aggregation; a maximum of structs would sort all keys
    time = F.coalesce("time", F.lit(float("-inf")))
    label = F.coalesce((F.max(F.when(F.col("label") == 1, time)) == F.max(time)).cast("double"), F.lit(0.0))
    return groups.agg(F.max("time").alias("time"), label.alias("label"), copies).drop("event")
