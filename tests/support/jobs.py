"""Starts the project's commands as a user does: spark-submit, horovodrun and a standalone Spark cluster."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyspark

REPOSITORY = Path(__file__).parents[2]
SPARK_SUBMIT = str(Path(sys.executable).with_name("spark-submit"))
TWO_EXECUTORS = "local-cluster[2,1,1024]"  # a master whose executors are processes of their own, with 1 core each
ONE_EXECUTOR = "local-cluster[1,1,1024]"


def submit(master: str, *arguments: str) -> subprocess.CompletedProcess:
    """Runs spark-submit with these arguments and returns its exit code and output."""
    return _run([SPARK_SUBMIT, "--master", master, *arguments], timeout=600)


def horovodrun(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Runs horovodrun with these arguments and extra environment variables; returns its exit code and output."""
    return _run(["horovodrun", *arguments], timeout=300, **variables)


def _run(command: list[str], timeout: int, **variables: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=timeout)


def free_port() -> int:
    """Returns a port of this machine that no process listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def standalone(folder: Path) -> Iterator[str]:
    """Runs a standalone Spark master and a worker with 2 cores on loopback; yields the master's URL."""
    port = free_port()
    url = f"spark://127.0.0.1:{port}"
    master = ("master.Master", "--port", str(port))
    worker = ("worker.Worker", "--cores", "2", "--memory", "2g", "--work-dir", str(folder), url)
    with ExitStack() as processes:
        for class_name, *arguments in (master, worker):
            command = [f"{pyspark.__path__[0]}/bin/spark-class", f"org.apache.spark.deploy.{class_name}"]
            process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--webui-port", "0", *arguments],
                env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            processes.callback(process.wait)
            processes.callback(process.terminate)
        yield url
