"""Encodes features: turns the typed values of `cleaning.parse` into columns of numbers, and describes the result."""

from collections.abc import Callable, Mapping
from functools import reduce
from math import sqrt

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.engine.rows import aggregate
from pipelines.samples.cleaning import Features, last_values
from pipelines.samples.ids import dense_ids
from training.column_names import LENGTH
from training.config import FeatureConfig

VOCABULARIES = "feature STRING, key STRING, id BIGINT"
FEATURES = (
    "name STRING, kind STRING, of STRING, vocabulary STRING, size BIGINT, length INT, mean DOUBLE, deviation DOUBLE"
)
TYPES = {"category": "BIGINT", "dense": "FLOAT", "list": "ARRAY<BIGINT>", "sequence": "ARRAY<BIGINT>"}
STEPS = 2**40

Moments = Mapping[str, tuple[float, float]]  # by dense feature: mean and deviation


def owned_by(features: Features, owner: str) -> Features:
    """Returns the features that belong to `owner`: row, user or item."""
    return {name: feature for name, feature in features.items() if feature.of == owner}


def encoded_columns(features: Features) -> dict[str, str]:
    """Returns {column: type} of the encoded features; a list or sequence also gets a column with its length."""
    result = {}
    for name, feature in features.items():
        result[name] = TYPES[feature.kind]
        if feature.kind in ("list", "sequence"):
            result[LENGTH.format(name)] = "INT"
    return result


def column_definitions(features: Features) -> str:
    """Returns the encoded columns as lines of a CREATE TABLE statement, each followed by a comma."""
    return " ".join(f"{name} {kind} NOT NULL," for name, kind in encoded_columns(features).items())


def latest_values(clean: DataFrame, owner: str, names: list[str]) -> DataFrame:
    """Finds, for each user or item, the latest value of each feature that is not null.

    | user | time | city | genres |      | key | city | genres |
    | u1   | 1    | x    | [a]    |  ->  | u1  | x    | [b, c] |
    | u1   | 2    | null | [b, c] |

    A row without a time counts as the earliest. Of several values with the same time, the largest is taken.
    """
    values = [F.max(F.when(F.col(name).isNotNull(), F.struct("time", name)))[name].alias(name) for name in names]
    return clean.groupBy(F.col(owner).alias("key")).agg(*values)


def values_by_owner(
    clean: DataFrame, features: Features, persist: Callable[[DataFrame], DataFrame]
) -> dict[str, DataFrame]:
    """Returns the frames with the values of features: "row" the clean rows, "user" and "item" their latest values."""
    values = {"row": clean}
    for owner in ("user", "item"):
        if owned_by(features, owner):
            values[owner] = persist(latest_values(clean, owner, list(owned_by(features, owner))))
    return values


def vocabulary_ids(
    values: Mapping[str, DataFrame],
    features: Features,
    spark: SparkSession,
    persist: Callable[[DataFrame], DataFrame],
    earlier: DataFrame | None = None,
) -> DataFrame:
    """Assigns ids 1, 2, ..., per feature, to the categories and the values of lists: (feature, key, id).

    Args:
        values: see `values_by_owner`.
        earlier: an existing table of the same columns. Its keys are left out, and the new ids follow its ids.
    """
    frames = [spark.createDataFrame([], VOCABULARIES)]
    for name, feature in features.items():
        if feature.kind in ("category", "list"):
            key = F.explode(name) if feature.kind == "list" else F.col(name)
            of_feature = values[feature.of].select(key.alias("key")).where("key IS NOT NULL")
            before = None if earlier is None else earlier.where(F.col("feature") == name)
            keys = dense_ids(of_feature, "key", persist, before)
            frames.append(keys.select(F.lit(name).alias("feature"), "key", F.col("id") + 1))
    return reduce(DataFrame.union, frames)


def keys_by_feature(features: Features, vocabulary: DataFrame, items: DataFrame) -> dict[str, DataFrame]:
    """Returns (key, id) for each feature that is not dense: its vocabulary, or all items for a sequence."""
    return {
        name: items if feature.kind == "sequence" else vocabulary.where(F.col("feature") == name)
        for name, feature in features.items()
        if feature.kind != "dense"
    }


def dense_moments(clean: DataFrame, features: Features) -> Moments:
    """Computes mean and deviation of each dense feature over the rows that have a value; (0, 0) if no row has one.

    A sum of doubles depends on their order, and so on the partitioning. Here values are rounded to whole numbers of
    steps, each the largest value / 2^40, whose sums are exact. The deviation of a constant is exactly 0.
    """
    names = [name for name, feature in features.items() if feature.kind == "dense"]
    if not names:
        return {}
    largest = aggregate(clean, *[F.max(F.abs(name)).alias(name) for name in names]).asDict()
    scales = {name: value or 1.0 for name, value in largest.items()}
    steps = {name: (F.col(name) / scale * STEPS).cast("decimal(13)") for name, scale in scales.items()}
    sums = aggregate(
        clean,
        *[F.count(name).alias(f"{name}_count") for name in names],
        *[F.sum(step).alias(f"{name}_sum") for name, step in steps.items()],
        *[F.sum(step * step).alias(f"{name}_squares") for name, step in steps.items()],
    )
    result = {}
    for name, scale in scales.items():
        count, total, squares = (int(sums[f"{name}_{suffix}"] or 0) for suffix in ("count", "sum", "squares"))
        unit = scale / STEPS / max(count, 1)
        result[name] = (total * unit, sqrt(count * squares - total * total) * unit)
    return result


def encode_features(frame: DataFrame, features: Features, keys: Mapping[str, DataFrame], moments: Moments) -> DataFrame:
    """Replaces the values of features in `frame` by numbers, without nulls; see TYPES.

    | genres | age  |      | genres | genres_length | age  |      length 2, {a: 1, b: 2}, mean 30, deviation 10
    | [b]    | 45   |  ->  | [2, 0] | 1             | 1.5  |
    | null   | null |      | [0, 0] | 0             | 0.0  |

    A missing category is 0, and lists are padded with 0. Sequences are padded with 0 here and with the row's item
    later, see `pad_sequences`. A sequence drops keys that have no id, and then keeps its last `length` ones.

    Args:
        keys: (key, id) for each feature that is not dense.
    """
    for name, feature in features.items():
        if feature.kind == "dense":
            frame = frame.withColumn(name, _standardised(F.col(name), *moments[name]))
            continue
        if feature.kind == "category":
            ids = keys[name].select(F.col("key").alias(name), F.col("id").alias("_id"))
        else:
            ids = _list_ids(frame.select(name), keys[name])
        with_ids = frame.join(ids, name, "left")
        if feature.kind == "category":
            frame = with_ids.withColumn(name, F.coalesce("_id", F.lit(0))).drop("_id")
        else:
            real = F.coalesce("_ids", F.array().cast("array<bigint>"))
            real = last_values(real, feature.length)
            missing = F.array_repeat(F.lit(0).cast("bigint"), feature.length - F.size(real))
            lists = {name: F.concat(real, missing), LENGTH.format(name): F.size(real)}
            frame = with_ids.withColumns(lists).drop("_ids")
    return frame


def _standardised(number: Column, mean: float, deviation: float) -> Column:
    standard = (number - mean) / deviation if deviation else F.lit(0)
    return F.coalesce(standard.cast("float"), F.lit(0).cast("float"))


def _list_ids(lists: DataFrame, keys: DataFrame) -> DataFrame:
    """Translates each distinct list of keys, in the only column of `lists`; keys without an id are dropped.

    | genres    |      | genres    | _ids   |      {a: 1, b: 2}
    | [b, a, ?] |  ->  | [b, a, ?] | [2, 1] |
    """
    [name] = lists.columns
    elements = lists.distinct().select(name, F.posexplode(name).alias("_position", "key"))
    by_list = elements.join(keys.select("key", "id"), "key").groupBy(name)
    in_order = F.array_sort(F.collect_list(F.struct("_position", "id")))
    return by_list.agg(in_order.alias("_elements")).select(name, F.col("_elements.id").alias("_ids"))


def pad_sequences(samples: DataFrame, features: Features) -> DataFrame:
    """Pads sequences with the row's item instead of 0, so that they touch no embedding of another item.

    | item_id | history   | history_length |      | history   |
    | 7       | [3, 0, 0] | 1              |  ->  | [3, 7, 7] |
    """
    for name, feature in features.items():
        if feature.kind == "sequence":
            samples = samples.withColumn(name, _padded_with_item(name))
    return samples


def _padded_with_item(name: str) -> Column:
    length = F.col(LENGTH.format(name))
    return F.transform(name, lambda item, index: F.when(index < length, item).otherwise(F.col("item_id")))


def length_of(feature: FeatureConfig) -> int:
    """Returns the number of values of a list or sequence in a sample; 0 for other kinds."""
    return feature.length if feature.kind in ("list", "sequence") else 0


def describe_features(features: Features, vocabularies: DataFrame, items: int, moments: Moments) -> DataFrame:
    """Returns the table features, with one row per feature. `items` is the number of items."""
    counts = {row["feature"]: row["count"] for row in vocabularies.groupBy("feature").count().collect()}
    rows = []
    for name, feature in features.items():
        vocabulary, size = {"dense": (None, 0), "sequence": ("item_id", items)}.get(
            feature.kind, (name, counts.get(name, 0) + 1)
        )
        mean_and_deviation = moments.get(name, (None, None))
        rows.append((name, feature.kind, feature.of, vocabulary, size, length_of(feature), *mean_and_deviation))
    return vocabularies.sparkSession.createDataFrame(rows, FEATURES)
