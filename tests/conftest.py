"""What all tests share: one Spark session, as spark-submit would prepare it."""

import shlex

import pytest

from pipelines.session import spark_session

SUBMIT = {
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.ui.enabled": "false",
    # Inputs of two rows: compiling and planning again take longer than running. What spark-submit starts in
    # tests keeps Spark's own values.
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.ui.explainMode": "simple",
    "spark.driver.memory": "2g",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


@pytest.fixture(scope="session")
def spark(tmp_path_factory):
    """A session of two local cores with the settings of the jobs."""
    settings = {**SUBMIT, "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse"))}
    options = [option for key, value in settings.items() for option in ("--conf", f"{key}={value}")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_SUBMIT_ARGS", shlex.join(["--master", "local[2]", *options, "pyspark-shell"]))
        session = spark_session("tests")
    yield session
    session.stop()
