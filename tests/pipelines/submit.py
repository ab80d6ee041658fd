"""Jobs as a user starts them."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyspark

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


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def standalone(folder: Path) -> Iterator[str]:
    """The address of a standalone master on loopback with two workers of a core each, for the time of the block."""
    port = free_port()
    address = f"spark://127.0.0.1:{port}"
    worker = ("worker.Worker", "--cores", "1", "--memory", "1g", "--work-dir", str(folder), address)
    with ExitStack() as processes:
        for name, *arguments in (("master.Master", "--port", str(port)), worker, worker):
            command = [f"{pyspark.__path__[0]}/bin/spark-class", f"org.apache.spark.deploy.{name}"]
            process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--webui-port", "0", *arguments],
                env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            processes.callback(process.wait)
            processes.callback(process.terminate)
        yield address
