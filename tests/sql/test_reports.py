"""Runs the reports of sql/reports on the tables of a build and an evaluation."""

import pytest

from pipelines.engine import tables
from pipelines.evaluate import evaluate
from training.train import train

NAMES = sorted(file.name.removesuffix(".sql") for file in (tables.SQL / "reports").iterdir())


@pytest.fixture(scope="module")
def evaluated(spark, built, tmp_path_factory):
    config = built.config(built.copy(tmp_path_factory.mktemp("reports")), "framework.name=joint")
    train(config)
    evaluate(spark, config)
    return config


def report(spark, config, name):
    query = tables.statement(f"reports/{name}", root=config.root, before="1")
    return [row.asDict() for row in spark.sql(query).collect()]


@pytest.mark.parametrize("name", NAMES)
def test_every_report_runs_on_the_tables_of_the_jobs(spark, evaluated, name):
    rows = report(spark, evaluated, name)
    assert bool(rows) == (name not in ("rejects", "vanished_domains"))


def test_domains_by_size_counts_each_domain_and_sample_once(spark, evaluated):
    rows = report(spark, evaluated, "domains_by_size")
    assert [row["samples_from"] for row in rows] == [1, 10, 100]
    assert [row["domains"] for row in rows] == [2, 8, 2]
    assert sum(row["samples"] for row in rows) == tables.read(spark, evaluated.table("samples")).count()


def test_vanished_domains_compares_with_an_earlier_version(spark, evaluated):
    path = evaluated.table("domains")
    before = tables.version(path)
    spark.sql(f"DELETE FROM delta.`{path}` WHERE domain_key = 'domain 3'")
    query = tables.statement("reports/vanished_domains", root=evaluated.root, before=str(before))
    assert [row["domain_key"] for row in spark.sql(query).collect()] == ["domain 3"]
    tables.restore(spark, path, before)
