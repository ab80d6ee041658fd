"""Jobs as a user starts them."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SUBMIT = str(Path(sys.executable).with_name("spark-submit"))
SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "3",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
    "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1",
}
CLUSTER = "local-cluster[2,1,1024]"  # two executors, in processes of their own


def submit(master: str, *arguments: str) -> subprocess.CompletedProcess:
    """What came out of spark-submit with these arguments."""
    options = [option for key, value in SETTINGS.items() for option in ("--conf", f"{key}={value}")]
    environment = {**os.environ, "PATH": f"{Path(SUBMIT).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        [SUBMIT, "--master", master, *options, *arguments],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
