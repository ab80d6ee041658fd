"""Makes the samples of a bucket from its rows, in NumPy, for all of its domains at once."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from pipelines.samples.features import pad_sequences
from pipelines.samples.negatives import draw_negatives
from pipelines.samples.splits import OPEN, SPLITS, split_rows
from training.column_names import ID_ORDER, LABEL, ROW_ORDER
from training.config import DataConfig

SCHEMA = "domain_id INT, user_id BIGINT, item_id BIGINT, label FLOAT, bucket INT, split STRING"
INPUT = (*ROW_ORDER, "bucket", "ctr_ratio", "split", "final")  # columns of rows that are no features
FILE_ORDER = ("split", "bucket", *ROW_ORDER)
NO_OWNERS: Mapping[str, DataFrame] = MappingProxyType({})


def make_samples(
    rows: DataFrame,
    data: DataConfig,
    seed: int,
    labelled: bool,
    owners: Mapping[str, DataFrame] = NO_OWNERS,
    events: bool = False,
) -> DataFrame:
    """Makes the samples of each bucket: draws negatives, splits the rows and adds features.

    Args:
        rows: see `assign_buckets`; columns beyond INPUT are features of the rows. Rows with a split keep it.
        labelled: whether the log has labels, so that no negatives are drawn.
        owners: by user_id or item_id, the table of users or items with its features. Rows that have these features
            already, such as samples of an earlier build, keep theirs.
        events: whether a (domain, user, item) may be several samples.

    Returns:
        The columns of the samples table. Partitions are sorted by bucket, split, domain, user, item and label, the
        order of the files, so that the writer need not sort again.
    """
    of_rows = [name for name in rows.columns if name not in INPUT]
    fields = cast(StructType, StructType.fromDDL(SCHEMA)).fields
    schema = StructType([*fields, *(rows.schema[name] for name in of_rows)])

    def finish(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        for bucket in whole_buckets(batches):
            yield from finish_bucket(bucket, data.split, seed, labelled, events).to_batches()

    # the splits of two samples of a pair must not depend on the order of the input: sort by the features of rows, too
    within = [*ROW_ORDER, *of_rows] if of_rows else []
    by_bucket = rows.repartition("bucket").sortWithinPartitions("bucket", *within)
    samples = by_bucket.mapInArrow(finish, schema)
    for name, frame in owners.items():
        samples = _with_features(samples, frame.drop("key").withColumnRenamed("id", name), name)
    samples = pad_sequences(samples, data.features)
    return samples.repartition("bucket").sortWithinPartitions("bucket", *FILE_ORDER, *of_rows) if owners else samples


def _with_features(samples: DataFrame, owners: DataFrame, key: str) -> DataFrame:
    """Adds the columns of `owners` by `key`; a value that `samples` already has in such a column stays."""
    features = [name for name in owners.columns if name != key]
    existing = [name for name in features if name in samples.columns]
    joined = samples.withColumnsRenamed({name: f"_{name}" for name in existing}).join(owners, key)
    filled = joined.withColumns({name: F.coalesce(f"_{name}", name) for name in existing})
    return filled.drop(*(f"_{name}" for name in existing))


def whole_buckets(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Cuts rows that are sorted by bucket into buckets, so that a task holds one bucket at a time.

    | bucket | 0 0 | 0 1 | 1 |  ->  0 0 0 | 1 1
    """
    pieces: list[pa.RecordBatch] = []
    for batch in filter(len, batches):
        bucket = batch["bucket"].to_numpy()
        edges = [0, *(np.flatnonzero(np.diff(bucket)) + 1).tolist(), len(bucket)]
        for start, end in pairwise(edges):
            if pieces and pieces[-1]["bucket"][0].as_py() != bucket[start]:
                yield pa.Table.from_batches(pieces)
                pieces = []
            pieces.append(batch.slice(start, end - start))
    if pieces:
        yield pa.Table.from_batches(pieces)


def finish_bucket(bucket: pa.Table, shares: list[float], seed: int, labelled: bool, events: bool = False) -> pa.Table:
    """Makes the samples of a bucket, sorted by FILE_ORDER: the columns of SCHEMA, and the features of rows.

    Rows that have a `split` keep it. Rows that are `final` are samples of an earlier build: they do not change and get
    no negatives. See `make_samples`.

    Raises:
        RuntimeError: a (domain, user, item) is two samples, and `events` is false.
    """
    rows = bucket.filter(bucket["user_id"].is_valid())  # the others are the item pool of a head domain
    domains, users, items, labels, ratios = (rows[name].to_numpy() for name in (*ROW_ORDER, "ctr_ratio"))
    split = _given_splits(rows)
    if not labelled:
        pools = _item_pools(bucket["domain_id"].to_numpy(), bucket["item_id"].to_numpy())
        is_new = ~rows["final"].to_numpy() if "final" in rows.column_names else np.ones(len(rows), bool)
        wide_domains = domains.astype(np.int64)
        positives = (wide_domains[is_new], users[is_new], items[is_new])
        taken = (wide_domains[~is_new], users[~is_new], items[~is_new])
        drawn = draw_negatives(seed, *positives, ratios[is_new], pools, taken)
        split = np.concatenate([split, splits_of_negatives(*positives, split[is_new], drawn[0], drawn[1])])
        domains, users, items = (
            np.concatenate([of_rows, of_drawn])
            for of_rows, of_drawn in zip((domains, users, items), drawn, strict=True)
        )
        labels = np.concatenate([labels, np.zeros(len(drawn[0]), labels.dtype)])
    samples = pa.table(
        {
            "domain_id": domains.astype(np.int32),
            "user_id": users.astype(np.int64),
            "item_id": items.astype(np.int64),
            LABEL: labels.astype(np.float32),
            "bucket": np.full(len(domains), bucket["bucket"][0].as_py(), np.int32),
            "split": split,
        }
    )
    for name in rows.column_names:
        if name not in INPUT:
            of_drawn = pa.nulls(len(domains) - len(rows), rows[name].type)
            samples = samples.append_column(name, pa.chunked_array([*rows[name].chunks, of_drawn]))
    samples = samples.sort_by([(name, "ascending") for name in ROW_ORDER])
    if not events:
        refuse_doubles(samples)
    domains, users, items, labels, split = (samples[name].to_numpy() for name in (*ROW_ORDER, "split"))
    return _by_split(samples, split_rows(seed, shares, domains, users, items, labels, split))


def refuse_doubles(samples: pa.Table) -> None:
    """Raises RuntimeError if a (domain, user, item) occurs twice in the samples of a bucket, sorted by ROW_ORDER."""
    same = np.logical_and.reduce([np.diff(samples[name].to_numpy()) == 0 for name in ID_ORDER])
    if same.any():
        raise RuntimeError(
            f"bucket {samples['bucket'][0]} of the samples holds {same.sum()} repeated (domain, user, item): "
            "the log changed during the build, run it again"
        )


def _by_split(samples: pa.Table, split: np.ndarray) -> pa.Table:
    """Adds the splits and sorts by them, so that Spark's sort has nothing to do."""
    by_name = np.argsort(SPLITS)
    order = np.argsort(np.argsort(by_name).astype(np.int8)[split], kind="stable")
    names = pa.DictionaryArray.from_arrays(split[order], pa.array(SPLITS)).cast(pa.string())
    ordered = samples.take(order)
    return ordered.set_column(ordered.column_names.index("split"), "split", names)


def _given_splits(rows: pa.Table) -> np.ndarray:
    """Returns the splits of rows as indices into SPLITS; OPEN for rows without a split."""
    if "split" not in rows.column_names:
        return np.full(len(rows), OPEN, np.int8)
    index = pc.index_in(rows["split"], pa.array(SPLITS))
    return index.fill_null(OPEN).to_numpy().astype(np.int8)


def splits_of_negatives(
    domains: np.ndarray,
    users: np.ndarray,
    items: np.ndarray,
    split: np.ndarray,
    negative_domains: np.ndarray,
    negative_users: np.ndarray,
) -> np.ndarray:
    """Spreads a user's negatives in a domain evenly over the splits of the user's positives there.

    A user whose positives, ordered by item, are in train and test has four negatives in train, train, test and test.
    If no positive has a split yet, no negative gets one.

    Args:
        domains, users, items, split: the positives, shape (n,).
        negative_domains, negative_users: shape (m,); each user has positives in that domain.

    Returns:
        int8, shape (m,).
    """
    if (split == OPEN).all():
        return np.full(len(negative_users), OPEN, np.int8)
    order = np.lexsort((items, users, domains))
    positives = np.stack([domains[order], users[order]], axis=1)
    pairs, starts, counts = np.unique(positives, axis=0, return_index=True, return_counts=True)
    negatives = np.stack([negative_domains, negative_users], axis=1)
    _, pair = np.unique(np.concatenate([pairs, negatives]), axis=0, return_inverse=True)
    pair = pair.reshape(-1)[len(pairs) :]
    by_pair = np.argsort(pair, kind="stable")
    drawn = np.bincount(pair, minlength=len(pairs))
    rank = np.empty(len(pair), np.int64)
    rank[by_pair] = np.arange(len(pair)) - np.repeat(np.cumsum(drawn) - drawn, drawn)
    return split[order][starts[pair] + rank * counts[pair] // np.maximum(drawn[pair], 1)]


def _item_pools(domains: np.ndarray, items: np.ndarray) -> dict[int, np.ndarray]:
    """Returns, by domain id, the distinct items of the domain, sorted."""
    pairs = np.unique(np.stack([domains.astype(np.int64), items], axis=1), axis=0)
    ids, starts = np.unique(pairs[:, 0], return_index=True)
    return dict(zip(ids.tolist(), np.split(pairs[:, 1], starts[1:]), strict=True))
