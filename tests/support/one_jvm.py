"""Shares one JVM with one Spark among all processes of pytest, so that code is compiled once for all of them."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

from pipelines.engine.session import spark_session


@contextmanager
def shared_session(folder: Path) -> Iterator[SparkSession]:
    """Yields a session of the Spark that all processes with this `folder` share.

    The first process starts Spark, as PYSPARK_SUBMIT_ARGS says, and stops it when the others have left the block.
    """
    address = folder / "gateway.json"
    with (folder / "users.lock").open("w") as users:
        with locked(folder / "start.lock"):
            fcntl.flock(users, fcntl.LOCK_SH)
            first = not address.exists()
            if not first:
                attach(json.loads(address.read_text()))
            session = spark_session("tests")
            if first:
                address.write_text(json.dumps(address_of(session)))
        yield session
        if first:
            with locked(folder / "start.lock"):
                fcntl.flock(users, fcntl.LOCK_EX)
                address.unlink()
                session.stop()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on the file at `path`."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def address_of(session: SparkSession) -> dict[str, str]:
    """Returns the environment variables through which PySpark connects to this session's JVM."""
    java = session.sparkContext._gateway.gateway_parameters
    return {"PYSPARK_GATEWAY_PORT": str(java.port), "PYSPARK_GATEWAY_SECRET": java.auth_token}


def attach(variables: dict[str, str]) -> None:
    """Gives this process a new session in the running JVM that `variables` address."""
    with mock.patch.dict(os.environ, variables):
        gateway = launch_gateway()
    running_session = gateway.jvm.SparkSession.getDefaultSession().get()
    java = gateway.jvm.JavaSparkContext.fromSparkContext(running_session.sparkContext())
    context = SparkContext(conf=SparkConf(_jconf=java.getConf()), gateway=gateway, jsc=java)
    SparkSession(context, running_session.newSession())
