"""The reports in sql/reports, on the tables that the jobs leave."""

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
def test_every_report_runs_on_what_the_jobs_leave(spark, evaluated, name):
    found = report(spark, evaluated, name)
    assert bool(found) == (name not in ("rejects", "vanished_domains"))


def test_domains_by_size_count_every_domain_and_sample_once(spark, evaluated):
    found = report(spark, evaluated, "domains_by_size")
    assert [row["samples_from"] for row in found] == [1, 10, 100]
    assert [row["domains"] for row in found] == [2, 8, 2]
    assert sum(row["samples"] for row in found) == tables.read(spark, evaluated.table("samples")).count()


def test_vanished_domains_are_those_of_the_version_before(spark, evaluated):
    path = evaluated.table("domains")
    before = tables.version(path)
    spark.sql(f"DELETE FROM delta.`{path}` WHERE domain_key = 'domain 3'")
    query = tables.statement("reports/vanished_domains", root=evaluated.root, before=str(before))
    assert [row["domain_key"] for row in spark.sql(query).collect()] == ["domain 3"]
    tables.restore(spark, path, before)
