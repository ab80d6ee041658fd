"""Encodes a clean log: assigns ids to its keys and turns features into numbers.

Writes the tables users, items, vocabularies and features, and the vectors that a source brings. An incremental build
uses incremental/encoding.py instead.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame

from pipelines.engine import tables
from pipelines.samples.features import (
    column_definitions,
    dense_moments,
    describe_features,
    encode_features,
    encoded_columns,
    keys_by_feature,
    owned_by,
    values_by_owner,
    vocabulary_ids,
)
from pipelines.samples.ids import dense_ids, replace_keys
from pipelines.sources import read_vectors
from training.config import Config


@dataclass(frozen=True)
class EncodedLog:
    """Holds a log whose keys are ids and whose features are numbers.

    Attributes:
        rows: domain_id, user_id, item_id, label, the log's split if it has one, and the features of rows.
        domain_ids: (key, id).
        owners: by user_id or item_id, the table of users or items, if it has features.
    """

    rows: DataFrame
    domain_ids: DataFrame
    owners: Mapping[str, DataFrame]


def encode_log(clean: DataFrame, config: Config, persist: Callable[[DataFrame], DataFrame]) -> EncodedLog:
    """Encodes the rows of `clean` (see `cleaning.deduplicate`) and writes the tables of keys and features."""
    features = config.data.features
    encoded, users, items = _write_keys(clean, config, persist)
    _write_vectors(config, users, items)
    domain_ids = persist(dense_ids(clean, "domain", persist))
    rows = persist(replace_keys(encoded, domain_ids, users, items, columns_of_rows(clean, config)))
    by_id = {"user_id": ("user", users), "item_id": ("item", items)}
    owners = {name: table for name, (owner, table) in by_id.items() if owned_by(features, owner)}
    return EncodedLog(rows, domain_ids, owners)


def columns_of_rows(clean: DataFrame, config: Config) -> list[str]:
    """Lists the columns that encoded rows have beside ids and label: the log's split, and the features of rows."""
    split = [name for name in clean.columns if name == "split"]
    return split + list(encoded_columns(owned_by(config.data.features, "row")))


def _write_keys(
    clean: DataFrame, config: Config, persist: Callable[[DataFrame], DataFrame]
) -> tuple[DataFrame, DataFrame, DataFrame]:
    """Writes the tables users, items, vocabularies and features.

    Returns:
        `clean` with the features of its rows as numbers, and the tables users and items.
    """
    spark, features = clean.sparkSession, config.data.features
    ids = {owner: dense_ids(clean, owner, persist) for owner in ("user", "item")}
    if not features:
        for name in ("vocabularies", "features"):
            tables.clear(spark, name, config.table(name))
        users, items = (tables.write(frame, f"{owner}s", config) for owner, frame in ids.items())
        return clean, users, items
    values = values_by_owner(clean, features, persist)
    vocabulary = tables.write(vocabulary_ids(values, features, spark, persist), "vocabularies", config)
    keys, moments = keys_by_feature(features, vocabulary, ids["item"]), dense_moments(clean, features)
    encoded = {
        owner: encode_features(frame, owned_by(features, owner), keys, moments) for owner, frame in values.items()
    }
    users, items = (
        tables.write(
            frame.join(encoded[owner], "key") if owner in encoded else frame,
            f"{owner}s",
            config,
            column_definitions(owned_by(features, owner)),
        )
        for owner, frame in ids.items()
    )
    tables.write(describe_features(features, vocabulary, items.count(), moments), "features", config)
    return encoded["row"], users, items


def _write_vectors(config: Config, users: DataFrame, items: DataFrame) -> None:
    """Writes the tables user_vectors and item_vectors, if the source of the log has pre-trained vectors."""
    for owner, vectors in read_vectors(users.sparkSession, config.data).items():
        keys = users if owner == "user" else items
        tables.overwrite(vectors.join(keys, "key", "left_semi"), "vectors", config.table(f"{owner}_vectors"))
