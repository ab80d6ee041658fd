"""Rows as columns: one NumPy array a column."""

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from training.column_names import LABEL

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


def select(columns: Columns, rows: np.ndarray) -> Columns:
    """Some rows, by a mask or by their numbers."""
    return {name: column[rows] for name, column in columns.items()}
