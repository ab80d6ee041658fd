"""The checks in sql/checks, which the tables of a build must pass before others read them.

Each is a query with a row a problem: what it is, and how many `rows` have it. Nulls, labels and splits are constraints
of the tables, see sql/tables; that no (domain, user, item) is two samples is checked when a bucket is made.
"""

from dataclasses import asdict

from pyspark.sql import SparkSession

from pipelines.engine import tables
from pipelines.samples import published_builds
from training.config import Config
from training.data.delta_files import require_version
from training.errors import UserError


def require_sound(spark: SparkSession, config: Config) -> None:
    """Raises UserError if the newest tables fail a check."""
    filled = {name: f"delta.`{config.table(name)}`" for name in published_builds.BELONGING} | asdict(config.checks)
    filled["last_domains"] = _last_domains(spark, config)
    filled["counts"] = tables.statement("queries/counts", samples=filled["samples"])
    checks = sorted(file.name.removesuffix(".sql") for file in (tables.SQL / "checks").iterdir())
    queries = [
        f"SELECT '{check}' AS check, * FROM ({tables.statement(f'checks/{check}', **filled)})" for check in checks
    ]
    for row in sorted(spark.sql(" UNION ALL ".join(queries)).where("rows > 0").collect()):
        raise UserError(
            f"the tables of {config.root} failed the check sql/checks/{row['check']}.sql ({row['rows']} "
            f"{row['problem']}) and are not published: those of the last build are still read"
        )


def _last_domains(spark: SparkSession, config: Config) -> str:
    """The table domains of the last build with these settings, or as it is now where that is not to be had."""
    path, last = config.table("domains"), published_builds.read_last(spark, config)
    if last is None or last.asDict().get("data") != published_builds.settings_of(config.data):
        return f"delta.`{path}`"
    version = last["versions"]["domains"]
    try:
        require_version(path, version)
    except UserError:
        return f"delta.`{path}`"
    return f"delta.`{path}` VERSION AS OF {version}"
