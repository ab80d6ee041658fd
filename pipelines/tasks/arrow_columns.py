"""Turns Arrow tables of samples into the columns that models read."""

from collections.abc import Sequence

import pyarrow as pa

from training.column_names import ROW_ORDER
from training.data.columns import Columns, to_array


def sorted_columns(table: pa.Table, names: Sequence[str]) -> Columns:
    """Some columns, sorted as the trainer's feed sorts them; those of lists of one length have shape (rows, length)."""
    table = table.select(names).sort_by([(name, "ascending") for name in ROW_ORDER])
    return {name: to_array(table[name].combine_chunks()) for name in names}
