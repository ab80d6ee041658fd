"""Checks that the tables of a build must pass before others read them.

Each file of sql/checks is a query that returns one row per problem: its description, and the number of `rows` that
have it. Other rules are checked elsewhere. Nulls, labels and splits are constraints of the tables, see sql/tables.
That no (domain, user, item) is two samples is checked when a bucket is made.
"""

from dataclasses import asdict

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.engine.rows import aggregate
from pipelines.samples import published_builds
from training.config import Config
from training.data.delta_files import require_version
from training.errors import UserError


def require_planned_rows(samples_made: int, plan: DataFrame) -> None:
    """Raises RuntimeError unless the sampler made as many samples as `plan` counted."""
    samples_planned = aggregate(plan, F.sum("rows"))[0]
    if samples_made != samples_planned:
        raise RuntimeError(
            f"table samples has {samples_made} rows, but the plan counted {samples_planned}: in "
            "pipelines/samples/negatives.py, draw_negatives must draw as many rows as negative_count_column counts; if "
            "the sampler was not edited, the log changed during the build, run it again"
        )


def require_sound(spark: SparkSession, config: Config) -> None:
    """Raises UserError if the newest tables fail a check."""
    values = {name: f"delta.`{config.table(name)}`" for name in published_builds.MODEL_TABLES} | asdict(config.checks)
    values["last_domains"] = _last_domains(spark, config)
    values["counts"] = tables.statement("queries/counts", samples=values["samples"])
    checks = sorted(file.name.removesuffix(".sql") for file in (tables.SQL / "checks").iterdir())
    queries = [
        f"SELECT '{check}' AS check, * FROM ({tables.statement(f'checks/{check}', **values)})" for check in checks
    ]
    for row in sorted(spark.sql(" UNION ALL ".join(queries)).where("rows > 0").collect()):
        raise UserError(
            f"the tables of {config.root} failed the check sql/checks/{row['check']}.sql ({row['problem']}: "
            f"{row['rows']}) and are not published; readers still get the last published build"
        )


def _last_domains(spark: SparkSession, config: Config) -> str:
    """Returns the table domains of the last build, for SQL.

    If that build had other settings, or its version is no longer readable, this is the newest version.
    """
    path, last = config.table("domains"), published_builds.last_build(spark, config)
    if last is None or last.asDict().get("data") != published_builds.settings_of(config.data):
        return f"delta.`{path}`"
    version = last["versions"]["domains"]
    try:
        require_version(path, version)
    except UserError:
        return f"delta.`{path}`"
    return f"delta.`{path}` VERSION AS OF {version}"
