"""Encodes new rows of the log with the ids and feature numbers of the tables that the rows are added to.

Keys keep their ids, and new keys get the next ones. Mean and deviation of a dense feature stay those of the first
build, so that a number means the same every day. If the new rows of a user or item have a value for a feature, the
user or item has that value from now on; its existing samples keep the value of their time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.samples.cleaning import Features
from pipelines.samples.encoding import columns_of_rows
from pipelines.samples.features import (
    Moments,
    describe_features,
    encode_features,
    encoded_columns,
    keys_by_feature,
    length_of,
    owned_by,
    values_by_owner,
    vocabulary_ids,
)
from pipelines.samples.ids import dense_ids, replace_keys
from training.column_names import KEYS
from training.config import Config
from training.errors import UserError

HAS_VALUE = "_has_{}"  # whether the new rows of a user or item have a value of the feature
NEW = "_new_{}"


@dataclass(frozen=True)
class NewKeys:
    """Holds (key, id) of the users, items or domains of earlier builds, and of those that are new."""

    earlier: DataFrame
    new: DataFrame

    @property
    def all(self) -> DataFrame:
        """Returns (key, id) of all of them."""
        return self.earlier.unionByName(self.new)


@dataclass(frozen=True)
class EncodedRows:
    """Holds new rows of the log whose keys are ids and whose features are numbers.

    Attributes:
        rows: domain_id, user_id, item_id, label, the log's split if it has one, and the features of rows.
        keys: by user, item and domain.
        owners: by user or item, if it has features: key, the features as numbers, HAS_VALUE of each feature.
        vocabulary: the rows to add to the table vocabularies; None if there are no features.
        moments: mean and deviation of each dense feature, from the first build.
    """

    rows: DataFrame
    keys: Mapping[str, NewKeys]
    owners: Mapping[str, DataFrame]
    vocabulary: DataFrame | None
    moments: Moments


def require_same_features(spark: SparkSession, config: Config) -> None:
    """Raises UserError unless the tables were built with the features of `config`."""
    built = {row["name"]: (row["kind"], row["of"], row["length"]) for row in _built_features(spark, config)}
    configured = {
        name: (feature.kind, feature.of, length_of(feature)) for name, feature in config.data.features.items()
    }
    if built != configured:
        names = ", ".join(sorted(built)) or "none"
        raise UserError(
            f"the tables of {config.root} were built with other data.features ({names}), so rows cannot be added: "
            "restore these features, or rebuild with data.incremental=false"
        )


def encode_rows(clean: DataFrame, config: Config, persist: Callable[[DataFrame], DataFrame]) -> EncodedRows:
    """Encodes the rows of `clean` (see `cleaning.deduplicate`) with the ids of earlier builds; writes nothing."""
    keys = {owner: _new_keys(owner, clean, config, persist) for owner in KEYS}
    encoded, owners, vocabulary, moments = _encode_features(clean, keys["item"].all, config, persist)
    further = columns_of_rows(clean, config)
    rows = persist(replace_keys(encoded, keys["domain"].all, keys["user"].all, keys["item"].all, further))
    return EncodedRows(rows, keys, owners, vocabulary, moments)


def _new_keys(owner: str, clean: DataFrame, config: Config, persist: Callable[[DataFrame], DataFrame]) -> NewKeys:
    table = tables.read(clean.sparkSession, config.table(f"{owner}s"))
    if owner == "domain":
        earlier = table.select(F.col("domain_key").alias("key"), F.col("domain_id").cast("bigint").alias("id"))
    else:
        earlier = table.select("key", "id")
    return NewKeys(earlier, persist(dense_ids(clean, owner, persist, earlier)))


def _encode_features(
    clean: DataFrame, items: DataFrame, config: Config, persist: Callable[[DataFrame], DataFrame]
) -> tuple[DataFrame, dict[str, DataFrame], DataFrame | None, Moments]:
    """Returns `clean` with the features of its rows as numbers, and owners, vocabulary and moments of EncodedRows.

    `items` is (key, id) of all items, including new ones.
    """
    spark, features = clean.sparkSession, config.data.features
    if not features:
        return clean, {}, None, {}
    values = values_by_owner(clean, features, persist)
    earlier = tables.read(spark, config.table("vocabularies"))
    vocabulary = persist(vocabulary_ids(values, features, spark, persist, earlier))
    keys = keys_by_feature(features, earlier.unionByName(vocabulary), items)
    built = _built_features(spark, config)
    moments = {row["name"]: (row["mean"], row["deviation"]) for row in built if row["kind"] == "dense"}
    owners = {}
    for owner in values.keys() - {"row"}:
        of_owner = owned_by(features, owner)
        has_value = {HAS_VALUE.format(name): F.col(name).isNotNull() for name in of_owner}
        owners[owner] = persist(encode_features(values[owner].withColumns(has_value), of_owner, keys, moments))
    return encode_features(clean, owned_by(features, "row"), keys, moments), owners, vocabulary, moments


def updated_owners(stored: DataFrame, new: DataFrame, encoded: DataFrame, features: Features) -> DataFrame:
    """Updates the table of users or items with the values of their new rows.

    | key | id | age |      | key | id |      | key | age | _has_age |      | key | id | age |
    | u1  | 0  | 1.5 |  +   | u2  | 1  |  +   | u1  | 0.5 | true     |  ->  | u1  | 0  | 0.5 |
                                             | u2  | 0.0 | false    |      | u2  | 1  | 0.0 |

    Args:
        stored: the table.
        new: (key, id) of the users or items that it lacks.
        encoded: see `EncodedRows.owners`.
    """
    feature_of_column = {
        column: name for name, feature in features.items() for column in encoded_columns({name: feature})
    }
    renamed = {column: NEW.format(column) for column in feature_of_column}
    latest = {
        column: F.when(F.col(HAS_VALUE.format(name)), F.col(NEW.format(column))).otherwise(F.col(column))
        for column, name in feature_of_column.items()
    }
    updated = stored.join(encoded.withColumnsRenamed(renamed), "key", "left").withColumns(latest)
    return updated.select(stored.columns).unionByName(new.join(encoded, "key").select(stored.columns))


def write_vocabularies(encoded: EncodedRows, config: Config) -> None:
    """Adds the new keys to the table vocabularies, and updates the sizes in the table features."""
    if encoded.vocabulary is None:
        return
    spark, features = encoded.vocabulary.sparkSession, config.data.features
    tables.append(encoded.vocabulary, "vocabularies", config.table("vocabularies"))
    vocabulary = tables.read(spark, config.table("vocabularies"))
    items = tables.read(spark, config.table("items")).count()
    tables.overwrite(
        describe_features(features, vocabulary, items, encoded.moments), "features", config.table("features")
    )


def _built_features(spark: SparkSession, config: Config) -> list[Row]:
    return tables.read(spark, config.table("features")).collect()
