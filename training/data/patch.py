"""Patches: the rows that a rank trains on between two outer steps."""

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.column_names import LABEL
from training.data.columns import Columns, to_features
from training.data.id_numbering import renumber_ids

WINDOW = 64  # times as many rows as ids may be in a part: where to cut next is looked for in no more


@dataclass
class Batch:
    """Some samples. Features by name, shape (rows,) or (rows, width); labels float, shape (rows,)."""

    features: dict[str, Tensor]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def split(self, last: int) -> tuple["Batch", "Batch"]:
        """The other rows, and the `last` ones; of a single row, that row twice."""
        cut = max(1, len(self) - last)

        def part(rows: slice) -> "Batch":
            return Batch({name: column[rows] for name, column in self.features.items()}, self.labels[rows])

        return part(slice(cut)), part(slice(len(self) - last, None))


class Patch:
    """The rows that a rank trains on in one round: whole buckets, sorted by domain.

    Attributes:
        ids: for each vocabulary the distinct ids in the patch, sorted, int64.
        starts, domain_ids: where each domain's rows start, and its id.
    """

    def __init__(
        self, columns: Columns, features_of: Mapping[str, tuple[str, ...]], device: torch.device, dtype: torch.dtype
    ) -> None:
        """Args:
        columns: the rows, sorted by domain_id. features_of: the features that look up tables, by vocabulary.
        """
        self.rows = len(columns[LABEL])
        self.domain_ids, self.starts = np.unique(columns["domain_id"], return_index=True)
        self.labels = torch.tensor(columns[LABEL]).to(device, dtype)
        self.features = to_features(columns, device)
        self.ids, self._local = renumber_ids(self.features, features_of)
        self._features_of = features_of

    def batch(self, rows: np.ndarray, local: bool = False) -> Batch:
        """The batch of these rows; with `local`, their ids number those in `ids` instead."""
        index = torch.from_numpy(rows).to(self.labels.device)
        source = self._local if local else self.features
        return Batch({name: column[index] for name, column in source.items()}, self.labels[index])

    def numbered(self, vocabularies: Iterable[str]) -> "Patch":
        """The same rows, with ids of these vocabularies that number those in `ids`."""
        result = copy(self)
        names = [name for vocabulary in vocabularies for name in self._features_of[vocabulary]]
        result.features = {**self.features, **{name: self._local[name] for name in names}}
        return result

    def domain_rows(self) -> list[np.ndarray]:
        """The row numbers of each domain."""
        return np.split(np.arange(self.rows), self.starts[1:]) if self.rows else []


def cut_to_fit(columns: Columns, features_of: Mapping[str, tuple[str, ...]], most_ids: int) -> list[Columns]:
    """Parts of rows sorted by domain with at most `most_ids` distinct ids each, of the vocabularies in `features_of`.

    A cut is between domains, unless a domain alone has more. A single row is a part whatever its ids.

    Example: at most 4 ids, of domains 0, 0, 1, 1 with users 7, 8, 7, 9 and items 1, 1, 2, 3: a cut after two rows.
    """
    parts, begin, rows = [], 0, len(columns[LABEL])
    while begin < rows:
        end = min(rows, begin + max(1, WINDOW * most_ids))
        new = np.zeros(end - begin, np.int64)  # ids that a row is the first to have
        for names in features_of.values():
            values = np.concatenate([columns[name][begin:end].reshape(end - begin, -1) for name in names], axis=1)
            _, first = np.unique(values, return_index=True)
            new += np.bincount(first // values.shape[1], minlength=end - begin)
        fitting = begin + max(1, int(np.searchsorted(np.cumsum(new), most_ids, side="right")))
        if fitting < rows:
            domain = columns["domain_id"]
            whole = int(np.searchsorted(domain, domain[fitting]))
            fitting = whole if whole > begin else fitting
        parts.append({name: column[begin:fitting] for name, column in columns.items()})
        begin = fitting
    return parts
