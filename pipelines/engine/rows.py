"""Rows of small results on the driver."""

from typing import cast

from pyspark.sql import Column, DataFrame, Row


def aggregate(frame: DataFrame, *columns: Column) -> Row:
    """Computes `columns`, aggregates over all rows of `frame`, as one row; an empty frame gives a row, too."""
    return cast(Row, frame.agg(*columns).first())
