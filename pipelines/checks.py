"""The checks in sql/checks, which the tables of a build must pass before others read them.

Each is a query with a row a problem: what it is, and how many `rows` have it. Nulls, labels and splits are constraints
of the tables, see sql/tables; that no (domain, user, item) is two samples is checked when a bucket is made.
"""

from pyspark.sql import SparkSession

from pipelines import tables
from pipelines.builds import BELONGING
from training.config import Config
from training.errors import UserError


def require_sound(spark: SparkSession, config: Config) -> None:
    """Raises UserError if the newest tables fail a check."""
    names = {name: f"delta.`{config.table(name)}`" for name in BELONGING}
    for file in sorted((tables.DEFINITIONS / "checks").glob("*.sql")):
        [query] = tables.statements(f"checks/{file.stem}", **names)
        for row in spark.sql(query).where("rows > 0").collect():
            raise UserError(
                f"the tables of {config.root} failed the check sql/checks/{file.name} ({row['rows']} {row['problem']}) "
                "and are not published: those of the last build are still read"
            )
