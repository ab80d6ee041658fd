"""From the placed rows of a bucket to its samples, in NumPy, for all of its domains at once."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from pipelines.samples.features import fill_sequences
from pipelines.samples.negatives import draw_negatives
from pipelines.samples.splits import OPEN, SPLITS, split_rows
from training.config import DataConfig

SCHEMA = "domain_id INT, user_id BIGINT, item_id BIGINT, label FLOAT, bucket INT, split STRING"
PLACED = ("domain_id", "user_id", "item_id", "label", "bucket", "ctr_ratio", "split", "stands")
PAIR = ("domain_id", "user_id", "item_id")
ORDER = ("split", "bucket", *PAIR, "label")
NO_OWNERS: Mapping[str, DataFrame] = MappingProxyType({})


def make_samples(
    placed: DataFrame,
    data: DataConfig,
    seed: int,
    labelled: bool,
    owners: Mapping[str, DataFrame] = NO_OWNERS,
    events: bool = False,
) -> DataFrame:
    """Draws negatives (unless `labelled`), splits (unless `placed` has a split) by bucket, and adds features.

    Args:
        placed: see `assign_buckets`; columns beyond PLACED are features of the rows.
        owners: the tables with features of users and items, by user_id and item_id. Rows that have those already, as
            the samples of an earlier build, keep theirs.
        events: whether a (domain, user, item) may be several samples.

    Returns:
        The columns of the samples table. A partition has one bucket after the other, each by split, domain, user, item
        and label, as files are: where writers of several files stand open, nothing is left to sort.
    """
    of_rows = [name for name in placed.columns if name not in PLACED]
    schema = StructType([*StructType.fromDDL(SCHEMA), *(placed.schema[name] for name in of_rows)])

    def finish(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for bucket in whole_buckets(batches):
            yield from finish_bucket(bucket, data.split, seed, labelled, events).to_batches()

    # which of two samples of a pair goes to which split must not depend on the order that features come in
    within = (*PAIR, "label", *of_rows) if of_rows else ()
    by_bucket = placed.repartition("bucket").sortWithinPartitions("bucket", *within)
    samples = by_bucket.mapInArrow(finish, schema)
    for name, frame in owners.items():
        samples = _with_features(samples, frame.drop("key").withColumnRenamed("id", name), name)
    samples = fill_sequences(samples, data.features)
    return samples.repartition("bucket").sortWithinPartitions("bucket", *ORDER, *of_rows) if owners else samples


def _with_features(samples: DataFrame, owners: DataFrame, key: str) -> DataFrame:
    """Adds the columns of `owners` by `key`; where `samples` has a value of such a column, that stays."""
    features = [name for name in owners.columns if name != key]
    there = [name for name in features if name in samples.columns]
    joined = samples.withColumnsRenamed({name: f"_{name}" for name in there}).join(owners, key)
    return joined.withColumns({name: F.coalesce(f"_{name}", name) for name in there}).drop(*(f"_{n}" for n in there))


def whole_buckets(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Cuts rows that stand by bucket into the buckets, so that a task holds one of them at a time.

    | bucket | 0 0 | 0 1 | 1 |  ->  0 0 0 | 1 1
    """
    parts: list[pa.RecordBatch] = []
    for batch in filter(len, batches):
        bucket = batch["bucket"].to_numpy()
        edges = [0, *(np.flatnonzero(np.diff(bucket)) + 1).tolist(), len(bucket)]
        for start, end in pairwise(edges):
            if parts and parts[-1]["bucket"][0].as_py() != bucket[start]:
                yield pa.Table.from_batches(parts)
                parts = []
            parts.append(batch.slice(start, end - start))
    if parts:
        yield pa.Table.from_batches(parts)


def finish_bucket(placed: pa.Table, shares: list[float], seed: int, labelled: bool, events: bool = False) -> pa.Table:
    """The samples of a bucket, by ORDER: SCHEMA and the features of rows.

    Rows that have a `split` keep it. Rows that are marked in the column `stands` are samples of an earlier build: they
    stay what they are, and get no negatives. See `make_samples`.

    Raises RuntimeError if a (domain, user, item) is two samples, unless those are `events`.
    """
    is_row = placed["user_id"].is_valid()
    rows = placed.filter(is_row)
    domains, users, items, labels, ratios = (
        rows[name].to_numpy() for name in ("domain_id", "user_id", "item_id", "label", "ctr_ratio")
    )
    split = _given_splits(rows)
    if not labelled:
        pools = _item_pools(placed["domain_id"].to_numpy(), placed["item_id"].to_numpy())
        keys = (domains.astype(np.int64), users, items)
        new = ~rows["stands"].to_numpy() if "stands" in rows.column_names else np.ones(len(rows), bool)
        drawn = draw_negatives(seed, *(key[new] for key in keys), ratios[new], pools, [key[~new] for key in keys])
        split = np.concatenate([split, splits_of_negatives(*(key[new] for key in keys), split[new], *drawn[:2])])
        domains, users, items = (np.concatenate(pair) for pair in zip((domains, users, items), drawn, strict=True))
        labels = np.concatenate([labels, np.zeros(len(drawn[0]), labels.dtype)])
    samples = pa.table(
        {
            "domain_id": domains.astype(np.int32),
            "user_id": users.astype(np.int64),
            "item_id": items.astype(np.int64),
            "label": labels.astype(np.float32),
            "bucket": np.full(len(domains), placed["bucket"][0].as_py(), np.int32),
            "split": split,
        }
    )
    for name in rows.column_names:
        if name not in PLACED:
            of_drawn = pa.nulls(len(domains) - len(rows), rows[name].type)
            samples = samples.append_column(name, pa.chunked_array([*rows[name].chunks, of_drawn]))
    samples = samples.sort_by([(name, "ascending") for name in (*PAIR, "label")])
    if not events:
        refuse_doubles(samples)
    *keys, given = (samples[name].to_numpy() for name in (*PAIR, "label", "split"))
    return _by_split(samples, split_rows(seed, shares, *keys, given))


def refuse_doubles(samples: pa.Table) -> None:
    """Raises RuntimeError if a (domain, user, item) is two samples of a bucket, which stand by these."""
    same = np.logical_and.reduce([np.diff(samples[name].to_numpy()) == 0 for name in PAIR])
    if same.any():
        raise RuntimeError(f"bucket {samples['bucket'][0]}: {same.sum()} pairs of a domain, user and item come twice")


def _by_split(samples: pa.Table, split: np.ndarray) -> pa.Table:
    """The samples with their splits, and in the order of those, so that Spark's own sort finds nothing to do."""
    by_name = np.argsort(SPLITS)
    order = np.argsort(np.argsort(by_name).astype(np.int8)[split], kind="stable")
    names = pa.DictionaryArray.from_arrays(split[order], pa.array(SPLITS)).cast(pa.string())
    ordered = samples.take(order)
    return ordered.set_column(ordered.column_names.index("split"), "split", names)


def _given_splits(rows: pa.Table) -> np.ndarray:
    """The splits that rows have, as indices into SPLITS; OPEN where they have none."""
    if "split" not in rows.column_names:
        return np.full(len(rows), OPEN, np.int8)
    known = pc.index_in(rows["split"], pa.array(SPLITS))
    return known.fill_null(OPEN).to_numpy().astype(np.int8)


def splits_of_negatives(
    domains: np.ndarray,
    users: np.ndarray,
    items: np.ndarray,
    split: np.ndarray,
    negative_domains: np.ndarray,
    negative_users: np.ndarray,
) -> np.ndarray:
    """Spreads a user's negatives in a domain evenly over the user's positives there: each gets the split of one.

    A user whose positives are in train and test, in that order of their items, has four negatives in train, train, test
    and test. Where no positive has a split yet, no negative has.

    Args:
        domains, users, items, split: the positives, shape (n,).
        negative_domains, negative_users: shape (m,); each user here has positives in that domain.

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
    """For each domain id its distinct items, sorted."""
    pairs = np.unique(np.stack([domains.astype(np.int64), items], axis=1), axis=0)
    ids, starts = np.unique(pairs[:, 0], return_index=True)
    return dict(zip(ids.tolist(), np.split(pairs[:, 1], starts[1:]), strict=True))
