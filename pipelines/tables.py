"""Delta tables: made from their definitions in sql/, written in one commit each."""

from pathlib import Path
from string import Template

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession

DEFINITIONS = Path(__file__).parents[1] / "sql"


def create_table(spark: SparkSession, name: str, path: str) -> None:
    """Makes the empty table `name` at `path` by sql/tables/NAME.sql, unless one is there."""
    if DeltaTable.isDeltaTable(spark, path):
        return
    for statement in statements(f"tables/{name}", table=f"delta.`{path}`"):
        spark.sql(statement)


def statements(name: str, **values: str) -> list[str]:
    """The statements of sql/NAME.sql, with ${placeholders} filled from `values`."""
    text = Template((DEFINITIONS / f"{name}.sql").read_text()).substitute(values)
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    return [part.strip() for part in "\n".join(lines).split(";\n") if part.strip()]


def overwrite(frame: DataFrame, name: str, path: str) -> None:
    """Replaces what the table `name` at `path` holds, in one commit; its constraints are checked by Delta."""
    create_table(frame.sparkSession, name, path)
    frame.write.format("delta").mode("overwrite").save(path)


def append(frame: DataFrame, name: str, path: str) -> None:
    """Adds the rows of `frame` to the table `name` at `path`, by the table's columns; others are left out."""
    create_table(frame.sparkSession, name, path)
    columns = read(frame.sparkSession, path).columns
    frame.select(columns).write.format("delta").mode("append").save(path)


def read(spark: SparkSession, path: str) -> DataFrame:
    return spark.read.format("delta").load(path)


def version(spark: SparkSession, path: str) -> int:
    """The table's newest version."""
    return DeltaTable.forPath(spark, path).history(1).first()["version"]
