"""Holds the rows of several domains as tensors, for steps that take a batch of each domain at once."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from training.column_names import LABEL
from training.data.columns import Columns, to_features


class DomainRows:
    """Holds the rows of several domains as tensors, and stacks one batch for each of many domains.

    Attributes:
        features: by name, shape (rows,) or (rows, length).
        labels: shape (rows,).
        rows_of: the row numbers of each domain, by domain id.
    """

    def __init__(self, columns: Columns, dtype: torch.dtype, device: torch.device) -> None:
        self.features = to_features(columns, device)
        self.labels = torch.tensor(columns[LABEL]).to(device, dtype)
        order = np.argsort(columns["domain_id"], kind="stable")
        ids, starts = np.unique(columns["domain_id"][order], return_index=True)
        self.rows_of = dict(zip(ids.tolist(), np.split(order, starts[1:]), strict=True)) if len(ids) else {}

    def take(self, batches: Sequence[np.ndarray]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Stacks several batches of row numbers, and pads each to the longest.

        Returns:
            Features, labels and weights, each of shape (batches, longest batch, ...). The weight is 1 for a row and 0
            for padding.
        """
        width = max(map(len, batches))
        numbers = np.zeros((len(batches), width), np.int64)
        weights = np.zeros((len(batches), width), np.float32)
        for index, batch in enumerate(batches):
            numbers[index, : len(batch)] = batch
            weights[index, : len(batch)] = 1
        rows = torch.from_numpy(numbers).to(self.labels.device)
        features = {name: column[rows] for name, column in self.features.items()}
        return features, self.labels[rows], torch.from_numpy(weights).to(self.labels)
