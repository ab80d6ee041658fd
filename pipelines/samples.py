"""From the placed rows of a bucket to its samples, in NumPy, for a whole partition at once."""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from pipelines.features import fill_sequences
from pipelines.negatives import draw_negatives
from pipelines.splits import SPLITS, split_rows
from training.config import DataConfig

SCHEMA = "domain_id INT, user_id BIGINT, item_id BIGINT, label FLOAT, bucket INT, split STRING"
PLACED = ("domain_id", "user_id", "item_id", "label", "bucket", "ctr_ratio", "split")
ORDER = ("split", "bucket", "domain_id", "user_id", "item_id", "label")
NO_OWNERS: Mapping[str, DataFrame] = MappingProxyType({})


def make_samples(
    placed: DataFrame, data: DataConfig, seed: int, labelled: bool, owners: Mapping[str, DataFrame] = NO_OWNERS
) -> DataFrame:
    """Draws negatives (unless `labelled`), splits (unless `placed` has a split) by bucket, and adds features.

    Args:
        placed: see `assign_buckets`; columns beyond PLACED are features of the rows.
        owners: the tables with features of users and items, by user_id and item_id.

    Returns:
        The columns of the samples table, sorted inside a partition as its files are: by split, bucket, domain,
        user, item and label.
    """
    of_rows = [name for name in placed.columns if name not in PLACED]
    schema = StructType([*StructType.fromDDL(SCHEMA), *(placed.schema[name] for name in of_rows)])

    def finish(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        batches = list(batches)
        if batches:
            table = pa.Table.from_batches(batches)
            yield from finish_buckets(table, data.split, seed, labelled).to_batches()

    by_bucket = placed.repartition("bucket")
    if of_rows:  # which of two samples of a pair goes to which split must not depend on the order they come in
        by_bucket = by_bucket.sortWithinPartitions("domain_id", "user_id", "item_id", "label", *of_rows)
    samples = by_bucket.mapInArrow(finish, schema)
    for name, frame in owners.items():
        samples = samples.join(frame.drop("key").withColumnRenamed("id", name), name)
    if owners:
        samples = samples.repartition("bucket")
    return fill_sequences(samples, data.features).sortWithinPartitions(*ORDER, *of_rows)


def finish_buckets(placed: pa.Table, shares: list[float], seed: int, labelled: bool) -> pa.Table:
    """The samples of some whole buckets, by ORDER: SCHEMA and the features of rows; see `make_samples`."""
    is_row = placed["user_id"].is_valid()
    rows = placed.filter(is_row)
    domains, users, items, labels, buckets, ratios = (
        rows[name].to_numpy() for name in ("domain_id", "user_id", "item_id", "label", "bucket", "ctr_ratio")
    )
    if not labelled:
        pools = _item_pools(placed["domain_id"].to_numpy(), placed["item_id"].to_numpy())
        drawn = draw_negatives(seed, domains.astype(np.int64), users, items, ratios, pools)
        bucket_of_pair = _lookup(domains, users, buckets, drawn[0], drawn[1])
        domains, users, items = (np.concatenate(pair) for pair in zip((domains, users, items), drawn, strict=True))
        labels = np.concatenate([labels, np.zeros(len(drawn[0]), labels.dtype)])
        buckets = np.concatenate([buckets, bucket_of_pair])
    if "split" in rows.column_names:
        split = rows["split"]
    else:
        drawn_split = split_rows(seed, shares, domains, users, items, labels, buckets)
        split = pa.DictionaryArray.from_arrays(drawn_split, pa.array(SPLITS)).cast(pa.string())
    samples = pa.table(
        {
            "domain_id": domains.astype(np.int32),
            "user_id": users.astype(np.int64),
            "item_id": items.astype(np.int64),
            "label": labels.astype(np.float32),
            "bucket": buckets.astype(np.int32),
            "split": split,
        }
    )
    for name in rows.column_names:
        if name not in PLACED:
            samples = samples.append_column(name, rows[name])
    return samples.sort_by([(name, "ascending") for name in ORDER])  # Spark's own sort then finds it in order


def _item_pools(domains: np.ndarray, items: np.ndarray) -> dict[int, np.ndarray]:
    """For each domain id its distinct items, sorted."""
    pairs = np.unique(np.stack([domains.astype(np.int64), items], axis=1), axis=0)
    ids, starts = np.unique(pairs[:, 0], return_index=True)
    return dict(zip(ids.tolist(), np.split(pairs[:, 1], starts[1:]), strict=True))


def _lookup(
    domains: np.ndarray,
    users: np.ndarray,
    buckets: np.ndarray,
    wanted_domains: np.ndarray,
    wanted_users: np.ndarray,
) -> np.ndarray:
    """The bucket of each wanted (domain, user), all of which occur in (domains, users)."""
    order = np.lexsort((users, domains))
    known = np.stack([domains[order].astype(np.int64), users[order]], axis=1)
    pairs, first = np.unique(known, axis=0, return_index=True)
    dense_users, inverse = np.unique(np.concatenate([pairs[:, 1], wanted_users]), return_inverse=True)
    width = len(dense_users)
    position = np.searchsorted(
        pairs[:, 0] * width + inverse[: len(pairs)], wanted_domains * width + inverse[len(pairs) :]
    )
    return buckets[order][first[position]]
