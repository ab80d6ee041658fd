"""Represents rows as columns: a dict of NumPy arrays, and the same as tensors."""

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from training.column_names import LABEL

Columns = dict[str, np.ndarray]  # by name (domain_id, user_id, item_id, label, ...), shape (rows,) or (rows, length)


def to_array(column: pa.Array) -> np.ndarray:
    """Converts numbers to shape (rows,), and lists of numbers of one length to shape (rows, length)."""
    if pa.types.is_list(column.type):
        values = column.flatten().to_numpy()
        return values.reshape(len(column), len(values) // max(len(column), 1))
    return column.to_numpy()


def to_features(columns: Columns, device: torch.device) -> dict[str, Tensor]:
    """Converts all columns except the label to tensors; integers become int64."""
    tensors = {name: torch.tensor(column) for name, column in columns.items() if name != LABEL}
    return {
        name: tensor.to(device, tensor.dtype if tensor.is_floating_point() else torch.int64)
        for name, tensor in tensors.items()
    }


def select(columns: Columns, rows: np.ndarray) -> Columns:
    """Returns some of the rows, chosen by a mask or by row numbers."""
    return {name: column[rows] for name, column in columns.items()}
