"""Inside Spark tasks: requests (a user in a domain) and candidates in, the best items of each request out."""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame

from pipelines.adaptation import ModelKey, open_theta, to_array
from training.batches import Columns, to_features
from training.device import use_cpu
from training.domain_parameters import from_row
from training.predict import PREDICT_ROWS, domain_logits
from training.schema import LENGTH, Schema

CANDIDATES = "candidates"
RANKED = (
    "domain_key STRING, user_key STRING, rank INT, item_key STRING, score DOUBLE, specific BOOLEAN, "
    "known_user BOOLEAN, known_item BOOLEAN"
)


def rank(requests: DataFrame, domains: DataFrame, key: ModelKey, top_k: int) -> DataFrame:
    """The `top_k` best candidates of each request.

    Args:
        requests: bucket, part, domain_id, domain (its key), user (key), user_id (-1: unknown), the features of users.
        domains: bucket, part, domain_id; rounds, dense, embeddings as in domain_parameters, null where it has no row.
            One row for each domain of the requests in a bucket.

        One of the two has candidates too: arrays of structs of item (key), item_id (-1: unknown) and the features of
        items, by key; those in `domains` are for all requests of a domain.

    Returns:
        A row a request and item, as in RANKED.
    """
    schema, dtype = key.schema, key.config.framework.specific_dtype

    def rank_group(requests: pa.Table, domains: pa.Table) -> pa.Table:
        use_cpu(threads=1)
        model, theta = open_theta(key)

        def rank_domain(number: int, row: dict) -> pa.Table:
            specific = from_row(row, theta, dtype)

            def logits_of(columns: Columns) -> np.ndarray:
                features = to_features(columns, theta.like.device)
                return domain_logits(model, theta, specific, features).double().cpu().numpy()

            asking = requests.filter(pc.equal(requests["domain_id"], row["domain_id"]))
            lists = asking if CANDIDATES in asking.column_names else domains.slice(number, 1)
            ranked = rank_items(asking, lists[CANDIDATES].combine_chunks(), schema, logits_of, top_k)
            return ranked.append_column("specific", pa.array([specific is not None] * len(ranked)))

        parameters = domains.select(["domain_id", "rounds", "dense", "embeddings"]).to_pylist()
        return pa.concat_tables([rank_domain(number, row) for number, row in enumerate(parameters)])

    group = ("bucket", "part")
    return requests.groupBy(*group).cogroup(domains.groupBy(*group)).applyInArrow(rank_group, RANKED)


def rank_items(
    requests: pa.Table,
    candidates: pa.ListArray,
    schema: Schema,
    logits_of: Callable[[Columns], np.ndarray],
    top_k: int,
) -> pa.Table:
    """The best candidates of each request of a domain: RANKED without `specific`.

    Args:
        candidates: of each request, or, as a single list, of all.
        logits_of: gives those of pairs, from the columns of `schema` but the label.
    """
    items = pa.Table.from_batches([pa.RecordBatch.from_struct_array(candidates.flatten())])
    of_requests, of_items = (
        {name: to_array(table[name].combine_chunks()) for name in schema.columns if name in table.column_names}
        for table in (requests, items)
    )
    parts = []
    for request, item in pairs(candidates.value_lengths().to_numpy(), len(requests)):
        columns = {name: column[request] for name, column in of_requests.items()}
        columns |= {name: column[item] for name, column in of_items.items()}
        fill_with_item(columns, schema)
        cuts = [slice(begin, begin + PREDICT_ROWS) for begin in range(0, len(request), PREDICT_ROWS)]
        logits = np.concatenate([logits_of({name: column[cut] for name, column in columns.items()}) for cut in cuts])
        place, best = best_of_each(request, logits, top_k)
        parts.append(
            pa.table(
                {
                    "domain_key": requests["domain"].take(request[best]),
                    "user_key": requests["user"].take(request[best]),
                    "rank": (place + 1).astype(np.int32),
                    "item_key": items["item"].take(item[best]),
                    "score": 1 / (1 + np.exp(-logits[best])),
                    "known_user": columns["user_id"][best] >= 0,
                    "known_item": columns["item_id"][best] >= 0,
                }
            )
        )
    return pa.concat_tables(parts)


def pairs(lengths: np.ndarray, requests: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The pairs of a request and a candidate, by request, some PREDICT_ROWS of them at a time, requests whole.

    | lengths | requests |      | request   | candidate |
    | 2 1     | 2        |  ->  | 0 0 1     | 0 1 2     |
    | 2       | 2        |  ->  | 0 0 1 1   | 0 1 0 1   |      one list for all
    """
    starts = np.cumsum(lengths) - lengths
    if len(lengths) == 1:
        lengths, starts = np.repeat(lengths, requests), np.zeros(requests, np.int64)
    ends, begin = np.cumsum(lengths), 0
    while begin < requests:
        most = ends[begin] - lengths[begin] + PREDICT_ROWS
        end = max(begin + 1, int(np.searchsorted(ends, most, side="right")))
        request = np.repeat(np.arange(begin, end), lengths[begin:end])
        first = np.searchsorted(request, request)
        yield request, starts[request] + np.arange(len(request)) - first
        begin = end


def fill_with_item(columns: Columns, schema: Schema) -> None:
    """Fills sequences up with the pair's own item, in place, as the samples' are; see pipelines/features.py."""
    for feature in schema.features:
        if feature.kind == "sequence":
            real = np.arange(feature.length) < columns[LENGTH.format(feature.name)][:, None]
            columns[feature.name] = np.where(real, columns[feature.name], columns["item_id"][:, None])


def best_of_each(request: np.ndarray, logits: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` largest logits of each request, the largest first; of equal ones the one that stands first.

    | request | 0   0   0   1   |      | place | 0 1 | 0 |
    | logits  | .1  .7  .3  .2  |  ->  | row   | 1 2 | 3 |    count = 2

    Args:
        request: shape (n,), sorted.
    """
    order = np.lexsort((-logits, request))
    place = np.arange(len(order)) - np.searchsorted(request, request)
    return place[place < count], order[place < count]
