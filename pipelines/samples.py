"""From the placed rows of a bucket to its samples, in NumPy, for a whole partition at once."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from pipelines.negatives import draw_negatives
from pipelines.splits import SPLITS, split_rows
from training.config import DataConfig

SCHEMA = "domain_id INT, user_id BIGINT, item_id BIGINT, label FLOAT, bucket INT, split STRING"


def make_samples(placed: DataFrame, data: DataConfig, seed: int, labelled: bool) -> DataFrame:
    """Draws negatives (unless `labelled`) and splits, by bucket; see `assign_buckets` for the input.

    Returns:
        The columns of the samples table, sorted inside a partition as its files are: by split, bucket, domain,
        user, item and label.
    """

    def finish(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        batches = list(batches)
        if batches:
            table = pa.Table.from_batches(batches)
            yield from finish_buckets(table, data.split, seed, labelled).to_batches()

    return (
        placed.repartition("bucket")
        .mapInArrow(finish, SCHEMA)
        .sortWithinPartitions("split", "bucket", "domain_id", "user_id", "item_id", "label")
    )


def finish_buckets(placed: pa.Table, shares: list[float], seed: int, labelled: bool) -> pa.Table:
    """The samples of some whole buckets. `placed` as from `assign_buckets`; the result has SCHEMA."""
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
    split = split_rows(seed, shares, domains, users, items, labels, buckets)
    return pa.table(
        {
            "domain_id": domains.astype(np.int32),
            "user_id": users.astype(np.int64),
            "item_id": items.astype(np.int64),
            "label": labels.astype(np.float32),
            "bucket": buckets.astype(np.int32),
            "split": pa.DictionaryArray.from_arrays(split, pa.array(SPLITS)).cast(pa.string()),
        }
    )


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
