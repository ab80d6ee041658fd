"""Holds the rows that a rank trains on between two outer steps, called a patch."""

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.column_names import LABEL
from training.data.columns import Columns, to_features
from training.data.id_numbering import renumber_ids

WINDOW = 64  # how many rows `cut_to_fit` searches for the next cut, for each id that fits


@dataclass
class Batch:
    """Holds some samples: features by name, shape (rows,) or (rows, length), and float labels, shape (rows,)."""

    features: dict[str, Tensor]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def split(self, last: int) -> tuple["Batch", "Batch"]:
        """Returns all rows but the `last`, and the `last` rows. A batch of a single row gives that row twice."""
        cut = max(1, len(self) - last)

        def take(rows: slice) -> "Batch":
            return Batch({name: column[rows] for name, column in self.features.items()}, self.labels[rows])

        return take(slice(cut)), take(slice(len(self) - last, None))


class Patch:
    """Holds the rows that a rank trains on in one round: whole buckets, sorted by domain.

    Attributes:
        rows: the number of rows.
        domain_ids, starts: the id of each domain, and its first row.
        features, labels: the rows as tensors, features by name.
        ids: the distinct ids of each vocabulary in the patch, sorted, int64. Local ids are indices into these.
    """

    def __init__(
        self, columns: Columns, features_of: Mapping[str, tuple[str, ...]], device: torch.device, dtype: torch.dtype
    ) -> None:
        """Converts rows to tensors.

        Args:
            columns: the rows, sorted by domain_id.
            features_of: the features that look up tables, by vocabulary.
            dtype: the type of the labels.
        """
        self.rows = len(columns[LABEL])
        self.domain_ids, self.starts = np.unique(columns["domain_id"], return_index=True)
        self.labels = torch.tensor(columns[LABEL]).to(device, dtype)
        self.features = to_features(columns, device)
        self.ids, self._local = renumber_ids(self.features, features_of)
        self._features_of = features_of

    def batch(self, rows: np.ndarray, local: bool = False) -> Batch:
        """Returns the batch of these rows; with `local`, its ids are local ids."""
        index = torch.from_numpy(rows).to(self.labels.device)
        source = self._local if local else self.features
        return Batch({name: column[index] for name, column in source.items()}, self.labels[index])

    def with_local_ids(self, vocabularies: Iterable[str]) -> "Patch":
        """Returns the same rows with local ids for these vocabularies."""
        result = copy(self)
        names = [name for vocabulary in vocabularies for name in self._features_of[vocabulary]]
        result.features = {**self.features, **{name: self._local[name] for name in names}}
        return result

    def domain_rows(self) -> list[np.ndarray]:
        """Returns the row numbers of each domain."""
        return np.split(np.arange(self.rows), self.starts[1:]) if self.rows else []


def cut_to_fit(columns: Columns, features_of: Mapping[str, tuple[str, ...]], most_ids: int) -> list[Columns]:
    """Splits rows into pieces that each have at most `most_ids` distinct ids, over all vocabularies in `features_of`.

    The rows are sorted by domain, and cuts lie between domains. A domain that does not fit in a piece is cut inside. A
    piece has at least one row, whatever the number of its ids.

    | domain_id | 0 0 1 1 |
    | user_id   | 7 8 7 9 |      with most_ids = 4, three rows fit (users 7, 8 and items 1, 2);
    | item_id   | 1 1 2 3 |      the cut moves back to the start of domain 1, after two rows
    """
    pieces, begin, rows = [], 0, len(columns[LABEL])
    while begin < rows:
        end = min(rows, begin + max(1, WINDOW * most_ids))
        new_ids = np.zeros(end - begin, np.int64)  # ids whose first occurrence is in this row
        for names in features_of.values():
            values = np.concatenate([columns[name][begin:end].reshape(end - begin, -1) for name in names], axis=1)
            _, first = np.unique(values, return_index=True)
            new_ids += np.bincount(first // values.shape[1], minlength=end - begin)
        cut = begin + max(1, int(np.searchsorted(np.cumsum(new_ids), most_ids, side="right")))
        if cut < rows:
            domain = columns["domain_id"]
            domain_start = int(np.searchsorted(domain, domain[cut]))
            cut = domain_start if domain_start > begin else cut
        pieces.append({name: column[begin:cut] for name, column in columns.items()})
        begin = cut
    return pieces
