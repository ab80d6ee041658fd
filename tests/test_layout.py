"""What the layout of the repository must keep."""

import sys
from pathlib import Path

import pytest

from tests.support.jobs import spark_variables, submit

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("folder", ["pipelines", "training", "benchmarks"])
def test_no_module_beside_a_script_hides_one_of_pythons_own(folder):
    """Python looks for modules beside the script first: `import secrets` in NumPy would find ours."""
    names = {path.stem for path in (ROOT / folder).iterdir() if path.suffix == ".py" or path.is_dir()}
    assert names & sys.stdlib_module_names == set()


def test_a_bare_spark_submit_has_the_settings_that_setup_installs(tmp_path, monkeypatch):
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
