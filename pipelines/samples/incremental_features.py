"""The features of new rows, as numbers of the tables that the rows are added to.

Keys of vocabularies keep their numbers, new ones get the next. Mean and deviation of a dense feature stay those of the
build, so that a number means the same on every day. A user or item whose new rows give a feature a value has that from
now on; its samples that are there keep what was known when they came.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.samples.features import (
    Moments,
    columns,
    describe,
    encode,
    keys_by_feature,
    length_of,
    of,
    values_by_owner,
    vocabularies,
)
from training.config import Config, FeatureConfig
from training.errors import UserError

GIVEN = "_given_{}"  # whether the new rows of a user or item have a value of the feature
NEW = "_new_{}"


class NewFeatures(NamedTuple):
    """Attributes: rows: the kept rows, with the features of each as numbers. owners: by user or item, where it has
    features, (key, those as numbers, GIVEN). vocabulary: the rows that the table of vocabularies lacks. moments: those
    of the build."""

    rows: DataFrame
    owners: Mapping[str, DataFrame]
    vocabulary: DataFrame | None
    moments: Moments


def require_same_features(spark: SparkSession, config: Config) -> None:
    """Raises UserError unless the tables were built with the features that `config` has."""
    built = {row["name"]: (row["kind"], row["of"], row["length"]) for row in _built(spark, config)}
    wanted = {name: (one.kind, one.of, length_of(one)) for name, one in config.data.features.items()}
    if built != wanted:
        names = ", ".join(sorted(built)) or "none"
        raise UserError(
            f"tables of {config.root} have other data.features ({names}) and cannot grow with these: build them anew, "
            "without data.incremental"
        )


def encode_new(
    kept: DataFrame, items: DataFrame, config: Config, persist: Callable[[DataFrame], DataFrame]
) -> NewFeatures:
    """The features of `kept`. `items`: (key, id) of all items, the new ones too."""
    spark, features = kept.sparkSession, config.data.features
    if not features:
        return NewFeatures(kept, {}, None, {})
    values = values_by_owner(kept, features, persist)
    known = tables.read(spark, config.table("vocabularies"))
    new = persist(vocabularies(values, features, spark, persist, known))
    keys = keys_by_feature(features, known.unionByName(new), items)
    moments = {row["name"]: (row["mean"], row["deviation"]) for row in _built(spark, config) if row["kind"] == "dense"}
    owners = {}
    for owner in values.keys() - {"row"}:
        own = of(features, owner)
        given = {GIVEN.format(name): F.col(name).isNotNull() for name in own}
        owners[owner] = persist(encode(values[owner].withColumns(given), own, keys, moments))
    return NewFeatures(encode(kept, of(features, "row"), keys, moments), owners, new, moments)


def updated(stored: DataFrame, new: DataFrame, encoded: DataFrame, features: Mapping[str, FeatureConfig]) -> DataFrame:
    """The table of users or items with what their new rows say.

    | key | id | age |      | key | id |      | key | age | _given_age |      | key | id | age |
    | u1  | 0  | 1.5 |  +   | u2  | 1  |  +   | u1  | 0.5 | true       |  ->  | u1  | 0  | 0.5 |
                                             | u2  | 0.0 | false      |      | u2  | 1  | 0.0 |

    Args:
        stored: the table; new: (key, id) of those that it lacks; encoded: see `NewFeatures.owners`.
    """
    of_feature = {column: name for name, feature in features.items() for column in columns({name: feature})}
    renamed = {column: NEW.format(column) for column in of_feature}
    latest = {
        column: F.when(F.col(GIVEN.format(name)), F.col(NEW.format(column))).otherwise(F.col(column))
        for column, name in of_feature.items()
    }
    there = stored.join(encoded.withColumnsRenamed(renamed), "key", "left").withColumns(latest)
    return there.select(stored.columns).unionByName(new.join(encoded, "key").select(stored.columns))


def write_vocabularies(new: NewFeatures, config: Config) -> None:
    """Adds the new keys to the vocabularies, and writes how large they, and the table of items, are now."""
    if new.vocabulary is None:
        return
    spark, features = new.vocabulary.sparkSession, config.data.features
    tables.append(new.vocabulary, "vocabularies", config.table("vocabularies"))
    vocabulary = tables.read(spark, config.table("vocabularies"))
    items = tables.read(spark, config.table("items")).count()
    tables.overwrite(describe(features, vocabulary, items, new.moments), "features", config.table("features"))


def _built(spark: SparkSession, config: Config) -> list:
    return tables.read(spark, config.table("features")).collect()
