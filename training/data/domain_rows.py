"""Rows of some domains as tensors, to take batches of one domain a line from."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from training.column_names import LABEL
from training.data.columns import Columns, to_features


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
