"""Fetches small results to the driver."""

from typing import cast

from pyspark.sql import Column, DataFrame, Row


def aggregate(frame: DataFrame, *columns: Column) -> Row:
    """Computes aggregates over all rows of `frame`, and returns them as one row."""
    return cast(Row, frame.agg(*columns).first())
