"""The best items of requests, from the logits of pairs: what batch scoring and the served model share."""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from training.column_names import LENGTH
from training.data.columns import Columns, to_array
from training.data.schema import Schema
from training.parameters.forward import PREDICT_ROWS

CANDIDATES = "candidates"
UNKNOWN = -1  # the id of what the model does not know


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
    """Fills sequences up with the pair's own item, in place, as the samples' are; see pipelines/samples/features.py."""
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
