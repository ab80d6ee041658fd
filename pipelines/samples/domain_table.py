"""Describes the domains: the table domains."""

from pyspark.sql import DataFrame

from pipelines.engine import tables


def describe_domains(plan: DataFrame, samples: DataFrame) -> DataFrame:
    """Returns rows of the table domains: the plan with users and items, and the counts of `samples` by split."""
    counts = tables.statement("queries/counts", samples="{samples}")
    query = tables.statement("queries/domains", plan="{plan}", counts=counts)
    return plan.sparkSession.sql(query, plan=plan, samples=samples)
