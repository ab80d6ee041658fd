"""What all tests share: one Spark session, as spark-submit would prepare it."""

import pytest

from pipelines.session import spark_session

SUBMIT = {
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.ui.enabled": "false",
    # compiling for inputs of two rows takes longer than running
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}


@pytest.fixture(scope="session")
def spark(tmp_path_factory):
    """A session of two local cores with the settings of the jobs."""
    settings = {**SUBMIT, "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse"))}
    arguments = " ".join(f"--conf {key}={value}" for key, value in settings.items())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_SUBMIT_ARGS", f"--master local[2] {arguments} pyspark-shell")
        session = spark_session("tests")
    yield session
    session.stop()
