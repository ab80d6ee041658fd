"""Chooses the best items of requests, for batch scoring and for the served model."""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from training.column_names import LENGTH
from training.data.columns import Columns, to_array
from training.data.schema import Schema
from training.parameters.forward import PREDICT_ROWS

CANDIDATES = "candidates"
UNKNOWN = -1  # the id of a user, item or domain that the model does not have


def rank_items(
    requests: pa.Table,
    candidates: pa.ListArray,
    schema: Schema,
    logits_of: Callable[[Columns], np.ndarray],
    top_k: int,
) -> pa.Table:
    """Returns the best `top_k` candidates of each request; all requests are for one domain.

    Args:
        requests: domain and user (keys), domain_id, user_id, and the features of users.
        candidates: the items of each request, or a single list for all requests; structs of item (key), item_id, and
            the features of items.
        logits_of: returns the logits of pairs of a request and an item, from the columns of `schema` but the label.

    Returns:
        One row for each request and chosen item, best first: domain_key, user_key, rank (from 1), item_key, score,
        known_user and known_item (whether the model has their ids).
    """
    items = pa.Table.from_batches([pa.RecordBatch.from_struct_array(candidates.flatten())])
    request_columns, item_columns = (
        {name: to_array(table[name].combine_chunks()) for name in schema.columns if name in table.column_names}
        for table in (requests, items)
    )
    rankings = []
    for request, item in pairs(candidates.value_lengths().to_numpy(), len(requests)):
        columns = {name: column[request] for name, column in request_columns.items()}
        columns |= {name: column[item] for name, column in item_columns.items()}
        fill_with_item(columns, schema)
        cuts = [slice(begin, begin + PREDICT_ROWS) for begin in range(0, len(request), PREDICT_ROWS)]
        logits = np.concatenate([logits_of({name: column[cut] for name, column in columns.items()}) for cut in cuts])
        rank, best = best_of_each(request, logits, top_k)
        rankings.append(
            pa.table(
                {
                    "domain_key": requests["domain"].take(request[best]),
                    "user_key": requests["user"].take(request[best]),
                    "rank": (rank + 1).astype(np.int32),
                    "item_key": items["item"].take(item[best]),
                    "score": 1 / (1 + np.exp(-logits[best])),
                    "known_user": columns["user_id"][best] >= 0,
                    "known_item": columns["item_id"][best] >= 0,
                }
            )
        )
    return pa.concat_tables(rankings)


def pairs(lengths: np.ndarray, requests: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the pairs of a request and a candidate, about PREDICT_ROWS at a time; requests are not split.

    | lengths | requests |      | request   | candidate |
    | 2 1     | 2        |  ->  | 0 0 1     | 0 1 2     |
    | 2       | 2        |  ->  | 0 0 1 1   | 0 1 0 1   |      one list for all requests
    """
    starts = np.cumsum(lengths) - lengths
    if len(lengths) == 1:
        lengths, starts = np.repeat(lengths, requests), np.zeros(requests, np.int64)
    ends, begin = np.cumsum(lengths), 0
    while begin < requests:
        last_pair = ends[begin] - lengths[begin] + PREDICT_ROWS
        end = max(begin + 1, int(np.searchsorted(ends, last_pair, side="right")))
        request = np.repeat(np.arange(begin, end), lengths[begin:end])
        first = np.searchsorted(request, request)
        yield request, starts[request] + np.arange(len(request)) - first
        begin = end


def fill_with_item(columns: Columns, schema: Schema) -> None:
    """Pads sequences with the item of the pair, in place, as the samples are padded."""
    for feature in schema.features:
        if feature.kind == "sequence":
            is_value = np.arange(feature.length) < columns[LENGTH.format(feature.name)][:, None]
            columns[feature.name] = np.where(is_value, columns[feature.name], columns["item_id"][:, None])


def best_of_each(request: np.ndarray, logits: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ranks, from 0, and the rows of the `count` largest logits of each request, largest first.

    Of equal logits, the first row comes first.

    | request | 0   0   0   1   |      | rank | 0 1 | 0 |
    | logits  | .1  .7  .3  .2  |  ->  | row  | 1 2 | 3 |    count = 2

    Args:
        request: the number of each row's request, sorted, shape (rows,).
        logits: shape (rows,).
    """
    order = np.lexsort((-logits, request))
    rank = np.arange(len(order)) - np.searchsorted(request, request)
    return rank[rank < count], order[rank < count]
