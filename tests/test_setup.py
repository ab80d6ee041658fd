"""Tests what `make setup` installs."""

from tests.support.jobs import submit
from tests.support.spark_flags import spark_variables


def test_spark_submit_without_options_uses_the_settings_that_setup_installs(tmp_path, monkeypatch):
    for name in spark_variables():
        monkeypatch.delenv(name)
    job = tmp_path / "job.py"
    job.write_text(
        "from pyspark import SparkConf, SparkContext\n"
        "SparkContext._ensure_initialized()\n"
        "print(SparkConf().get('spark.sql.catalog.spark_catalog'))\n"
    )
    done = submit("local[1]", str(job))
    assert (done.returncode, done.stdout.strip()) == (0, "org.apache.spark.sql.delta.catalog.DeltaCatalog")
