"""Domain-bucketed sampling: the rows of a patch, cut into batches that are pure in a domain or a pack of them."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from training.data.id_numbering import number_ids
from training.data.schema import LABEL

WINDOW = 64  # times as many rows as ids may be in a part: where to cut next is looked for in no more

Columns = dict[str, np.ndarray]  # domain_id, user_id, item_id, label, ...: one array a column


def to_array(column: pa.Array) -> np.ndarray:
    """Numbers, shape (rows,), or lists of numbers of one length, shape (rows, length)."""
    if pa.types.is_list(column.type):
        values = column.flatten().to_numpy()
        return values.reshape(len(column), len(values) // max(len(column), 1))
    return column.to_numpy()


def to_features(columns: Columns, device: torch.device) -> dict[str, Tensor]:
    """All columns but the label as tensors, integers as int64."""
    tensors = {name: torch.tensor(column) for name, column in columns.items() if name != LABEL}
    return {
        name: tensor.to(device, tensor.dtype if tensor.is_floating_point() else torch.int64)
        for name, tensor in tensors.items()
    }


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


class Rows:
    """Rows of some domains as tensors, to take batches of one domain a line from.

    Attributes:
        rows_of: for each domain id its row numbers.
    """

    def __init__(self, columns: Columns, dtype: torch.dtype, device: torch.device) -> None:
        self.features = to_features(columns, device)
        self.labels = torch.tensor(columns[LABEL]).to(device, dtype)
        order = np.argsort(columns["domain_id"], kind="stable")
        ids, starts = np.unique(columns["domain_id"][order], return_index=True)
        self.rows_of = dict(zip(ids.tolist(), np.split(order, starts[1:]), strict=True)) if len(ids) else {}

    def take(self, lines: Sequence[np.ndarray]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Features, labels and weights, each (lines, longest line, ...); a short line is filled up at weight 0."""
        width = max(map(len, lines))
        numbers = np.zeros((len(lines), width), np.int64)
        weights = np.zeros((len(lines), width), np.float32)
        for index, line in enumerate(lines):
            numbers[index, : len(line)] = line
            weights[index, : len(line)] = 1
        place = torch.from_numpy(numbers).to(self.labels.device)
        features = {name: column[place] for name, column in self.features.items()}
        return features, self.labels[place], torch.from_numpy(weights).to(self.labels)


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
        self.ids, self._local = number_ids(self.features, features_of)
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


def shuffled_batches(rows: int, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """All row numbers in random order, in batches of `batch_size`; the last may be shorter."""
    return _cut(rng.permutation(rows), batch_size) if rows else []


def domain_walk(patch: Patch, batch_size: int, pack: bool, rng: np.random.Generator) -> list[list[np.ndarray]]:
    """The units of a walk over domains in random order, each a list of batches (row numbers).

    A domain of at least `batch_size` rows is a unit: its rows, shuffled, in batches pure in that domain. Smaller
    domains are packed whole, in random order, several to one batch, which is a unit too: an optimiser step for
    the five rows of a small domain costs as much as one for a full batch, and moves the model as far. With
    `pack` off every domain is a unit of its own, as Algorithm 1 has it.

    Example, batch_size 4, domains of 6, 1, 2 and 3 rows: units [4 + 2 rows of the first], [1 + 2 rows], [3 rows].
    """
    sizes = np.diff(patch.starts, append=patch.rows)
    small = (sizes < batch_size) & pack
    own = zip(patch.starts[~small].tolist(), sizes[~small].tolist(), strict=True)
    units = [_cut(start + rng.permutation(size), batch_size) for start, size in own]
    units += [[rows] for rows in _packs(patch.starts[small], sizes[small], batch_size, rng)]
    return [units[index] for index in rng.permutation(len(units))]


def _packs(starts: np.ndarray, sizes: np.ndarray, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """The row numbers of domains of fewer than `batch_size` rows, whole and in random order, by batch."""
    order = rng.permutation(len(sizes))
    ends = np.cumsum(sizes[order])
    rows = np.repeat(starts[order] + sizes[order] - ends, sizes[order]) + np.arange(sizes.sum())
    cuts = [0]
    while cuts[-1] < len(rows):
        fitting = np.searchsorted(ends, cuts[-1] + batch_size, side="right")
        cuts.append(int(ends[fitting - 1]))
    return [rows[begin:end] for begin, end in pairwise(cuts)]


def _cut(rows: np.ndarray, batch_size: int) -> list[np.ndarray]:
    return np.split(rows, range(batch_size, len(rows), batch_size))
