"""Reads the tables in docstrings, so that tests feed and expect exactly what a docstring shows.

A docstring shows a function's input and result as tables side by side:

    | key | value |      | key | value | total |
    | a   | 2     |  ->  | a   | 2     | 0     |
    | b   | 5     |      | b   | 5     | 2     |

Each table spans the columns of text that its header spans. A line may be blank in a shorter table. Text between and
after the tables, such as "->" or a setting, is ignored.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T

# cells between bars; a cell without letters or digits is the gap between two tables
HEADER = re.compile(r"\|(?:[^|]*\w[^|]*\|)+")


@dataclass(frozen=True)
class Table:
    """Holds a table of a docstring as text.

    Attributes:
        columns: the header.
        rows: the cells of each further line.
    """

    columns: list[str]
    rows: list[list[str]]

    def frame(self, spark: SparkSession, schema: str | T.StructType) -> DataFrame:
        """Returns the rows as a frame. `schema` names and types the columns, in the order of the table."""
        struct = T.StructType.fromDDL(schema) if isinstance(schema, str) else schema
        assert struct.names == self.columns
        types = [field.dataType for field in struct.fields]
        rows = [[to_value(text, kind) for text, kind in zip(row, types, strict=True)] for row in self.rows]
        return spark.createDataFrame(rows, struct)


def tables_of(function: Callable) -> list[Table]:
    """Returns the tables in the docstring of `function`, from left to right and from top to bottom."""
    lines = inspect.getdoc(function).splitlines()
    blocks = [list(block) for has_bars, block in groupby(lines, lambda line: "|" in line) if has_bars]
    return [read_table(block, *match.span()) for block in blocks for match in HEADER.finditer(block[0])]


def read_table(lines: list[str], start: int, end: int) -> Table:
    """Reads the table between two columns of text; its first line is the header."""
    cuts = [line[start:end].strip() for line in lines]
    header, *rows = [[cell.strip() for cell in cut.strip("|").split("|")] for cut in cuts if cut]
    return Table(header, rows)


def to_value(text: str, kind: T.DataType) -> object:
    """Converts the text of a cell to a value of a Spark type; null is no value, and "null" is a string."""
    if text == "null":
        return None
    if isinstance(kind, T.ArrayType):
        elements = text.strip("[]").split(",")
        return [to_value(element.strip(), kind.elementType) for element in elements if element.strip()]
    if isinstance(kind, T.StringType):
        return text.strip('"')
    if isinstance(kind, T.BooleanType):
        return {"true": True, "false": False}[text]
    return int(text) if isinstance(kind, T.IntegralType) else float(text)


def assert_shows(table: Table, frame: DataFrame) -> None:
    """Fails unless `table` holds the rows of `frame`, in any order. Only the columns of the table are compared."""
    shown = frame.select(table.columns)
    expected = table.frame(frame.sparkSession, shown.schema)
    assert_df_equality(shown, expected, ignore_row_order=True, ignore_nullable=True)
