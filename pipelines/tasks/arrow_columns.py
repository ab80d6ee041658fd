"""Turns Arrow tables of samples into the columns that models read."""

from collections.abc import Sequence

import pyarrow as pa

from training.column_names import ROW_ORDER
from training.data.columns import Columns, to_array


def sorted_columns(table: pa.Table, names: Sequence[str]) -> Columns:
    """Returns the columns `names`, with rows in the order in which the trainer reads them.

    A column of lists, all of one length, gets the shape (rows, length).
    """
    table = table.select(names).sort_by([(name, "ascending") for name in ROW_ORDER])
    return {name: to_array(table[name].combine_chunks()) for name in names}
