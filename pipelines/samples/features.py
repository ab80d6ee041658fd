"""Further features: from the values that `cleaning.parse` gives to columns of numbers, and what is known of them."""

from collections.abc import Callable, Mapping
from functools import reduce
from math import sqrt

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.samples.cleaning import Features, last
from pipelines.samples.ids import dense_ids
from training.column_names import LENGTH
from training.config import FeatureConfig

VOCABULARIES = "feature STRING, key STRING, id BIGINT"
FEATURES = (
    "name STRING, kind STRING, of STRING, vocabulary STRING, size BIGINT, length INT, mean DOUBLE, deviation DOUBLE"
)
TYPES = {"category": "BIGINT", "dense": "FLOAT", "list": "ARRAY<BIGINT>", "sequence": "ARRAY<BIGINT>"}
STEPS = 2**40

Moments = Mapping[str, tuple[float, float]]  # of a dense feature: mean and deviation


def of(features: Features, owner: str) -> Features:
    """The features of `owner`: row, user or item."""
    return {name: feature for name, feature in features.items() if feature.of == owner}


def columns(features: Features) -> dict[str, str]:
    """{column: type} of the numbers that they become."""
    result = {}
    for name, feature in features.items():
        result[name] = TYPES[feature.kind]
        if feature.kind in ("list", "sequence"):
            result[LENGTH.format(name)] = "INT"
    return result


def definitions(features: Features) -> str:
    """Their columns as a table's definition has them, each with a comma behind it."""
    return " ".join(f"{name} {kind} NOT NULL," for name, kind in columns(features).items())


def latest(kept: DataFrame, owner: str, names: list[str]) -> DataFrame:
    """For each user or item its latest value of each feature that is not null.

    | user | time | city | genres |      | key | city | genres |
    | u1   | 1    | x    | [a]    |  ->  | u1  | x    | [b, c] |
    | u1   | 2    | null | [b, c] |

    A row without a time counts as the earliest; of several values of one time it is the largest.
    """
    values = [F.max(F.when(F.col(name).isNotNull(), F.struct("time", name)))[name].alias(name) for name in names]
    return kept.groupBy(F.col(owner).alias("key")).agg(*values)


def values_by_owner(
    kept: DataFrame, features: Features, persist: Callable[[DataFrame], DataFrame]
) -> dict[str, DataFrame]:
    """The frames with the values of features: the kept rows, and of users and items what is `latest`."""
    values = {"row": kept}
    for owner in ("user", "item"):
        if of(features, owner):
            values[owner] = persist(latest(kept, owner, list(of(features, owner))))
    return values


def vocabularies(
    values: Mapping[str, DataFrame],
    features: Features,
    spark: SparkSession,
    persist: Callable[[DataFrame], DataFrame],
    known: DataFrame | None = None,
) -> DataFrame:
    """(feature, key, id): the categories and the values of lists, with ids 1, 2, ... by feature.

    Args:
        values: see `values_by_owner`.
        known: those that there are already, which are left out; the ids go on behind theirs.
    """
    found = [spark.createDataFrame([], VOCABULARIES)]
    for name, feature in features.items():
        if feature.kind in ("category", "list"):
            key = F.explode(name) if feature.kind == "list" else F.col(name)
            of_feature = values[feature.of].select(key.alias("key")).where("key IS NOT NULL")
            before = None if known is None else known.where(F.col("feature") == name)
            keys = dense_ids(of_feature, "key", persist, before)
            found.append(keys.select(F.lit(name).alias("feature"), "key", F.col("id") + 1))
    return reduce(DataFrame.union, found)


def keys_by_feature(features: Features, vocabulary: DataFrame, items: DataFrame) -> dict[str, DataFrame]:
    """For each feature that is not dense (key, id): of its vocabulary, or of the items, which a sequence holds."""
    return {
        name: items if feature.kind == "sequence" else vocabulary.where(F.col("feature") == name)
        for name, feature in features.items()
        if feature.kind != "dense"
    }


def moments(kept: DataFrame, features: Features) -> Moments:
    """Mean and deviation of each dense feature over the rows that have it; (0, 0) where none has.

    Sums of doubles depend on their order, and so on the partitioning. These are sums of whole numbers: of values in
    steps of the largest one / 2^40. The deviation of a constant is exactly 0.
    """
    names = [name for name, feature in features.items() if feature.kind == "dense"]
    if not names:
        return {}
    largest = kept.agg(*[F.max(F.abs(name)).alias(name) for name in names]).first().asDict()
    scales = {name: value or 1.0 for name, value in largest.items()}
    steps = {name: (F.col(name) / scale * STEPS).cast("decimal(13)") for name, scale in scales.items()}
    sums = kept.agg(
        *[F.count(name).alias(f"{name}_count") for name in names],
        *[F.sum(step).alias(f"{name}_sum") for name, step in steps.items()],
        *[F.sum(step * step).alias(f"{name}_squares") for name, step in steps.items()],
    ).first()
    result = {}
    for name, scale in scales.items():
        count, total, squares = (int(sums[f"{name}_{part}"] or 0) for part in ("count", "sum", "squares"))
        unit = scale / STEPS / max(count, 1)
        result[name] = (total * unit, sqrt(count * squares - total * total) * unit)
    return result


def encode(frame: DataFrame, features: Features, keys: Mapping[str, DataFrame], moments: Moments) -> DataFrame:
    """Replaces the values of features in `frame` by numbers, without nulls; see TYPES.

    | genres | age  |      | genres | genres_length | age  |      length 2, {a: 1, b: 2}, mean 30, deviation 10
    | [b]    | 45   |  ->  | [2, 0] | 1             | 1.5  |
    | null   | null |      | [0, 0] | 0             | 0.0  |

    A category that is missing is 0; a list is filled up with 0. So is a sequence here, see `fill_sequences`; its keys
    that have no id are dropped, and then the last `length` kept.

    Args:
        keys: for each feature that is not dense (key, id).
    """
    for name, feature in features.items():
        if feature.kind == "dense":
            frame = frame.withColumn(name, _standardised(F.col(name), *moments[name]))
            continue
        if feature.kind == "category":
            ids = keys[name].select(F.col("key").alias(name), F.col("id").alias("_id"))
        else:
            ids = _list_ids(frame.select(name), keys[name])
        found = frame.join(ids, name, "left")
        if feature.kind == "category":
            frame = found.withColumn(name, F.coalesce("_id", F.lit(0))).drop("_id")
        else:
            real = F.coalesce("_ids", F.array().cast("array<bigint>"))
            real = last(real, feature.length)
            missing = F.array_repeat(F.lit(0).cast("bigint"), feature.length - F.size(real))
            frame = found.withColumns({name: F.concat(real, missing), LENGTH.format(name): F.size(real)}).drop("_ids")
    return frame


def _standardised(number: Column, mean: float, deviation: float) -> Column:
    standard = (number - mean) / deviation if deviation else F.lit(0)
    return F.coalesce(standard.cast("float"), F.lit(0).cast("float"))


def _list_ids(lists: DataFrame, keys: DataFrame) -> DataFrame:
    """For each distinct list of keys, in the one column of `lists`, the ids of those that have one, in their order.

    | genres    |      | genres    | _ids   |      {a: 1, b: 2}
    | [b, a, ?] |  ->  | [b, a, ?] | [2, 1] |
    """
    [name] = lists.columns
    parts = lists.distinct().select(name, F.posexplode(name).alias("_place", "key"))
    placed = parts.join(keys.select("key", "id"), "key").groupBy(name)
    in_order = F.array_sort(F.collect_list(F.struct("_place", "id")))
    return placed.agg(in_order.alias("_parts")).select(name, F.col("_parts.id").alias("_ids"))


def fill_sequences(samples: DataFrame, features: Features) -> DataFrame:
    """Fills sequences up with the row's own item instead of 0, so that they touch no embedding of another item.

    | item_id | history   | history_length |      | history   |
    | 7       | [3, 0, 0] | 1              |  ->  | [3, 7, 7] |
    """
    for name, feature in features.items():
        if feature.kind == "sequence":
            samples = samples.withColumn(name, _filled_with_item(name))
    return samples


def _filled_with_item(name: str) -> Column:
    length = F.col(LENGTH.format(name))
    return F.transform(name, lambda item, place: F.when(place < length, item).otherwise(F.col("item_id")))


def length_of(feature: FeatureConfig) -> int:
    """The values of a list or sequence in a sample; 0 of other kinds."""
    return feature.length if feature.kind in ("list", "sequence") else 0


def describe(features: Features, vocabularies: DataFrame, items: int, moments: Moments) -> DataFrame:
    """The features table. `items`: how many there are."""
    keys = dict(vocabularies.groupBy("feature").count().collect())
    rows = []
    for name, feature in features.items():
        vocabulary, size = {"dense": (None, 0), "sequence": ("item_id", items)}.get(
            feature.kind, (name, keys.get(name, 0) + 1)
        )
        of_name = moments.get(name, (None, None))
        rows.append((name, feature.kind, feature.of, vocabulary, size, length_of(feature), *of_name))
    return vocabularies.sparkSession.createDataFrame(rows, FEATURES)
