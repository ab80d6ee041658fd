"""One JVM with one Spark for all processes of pytest: what compiling one of them has paid for, the others have too."""

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
def one_spark(folder: Path) -> Iterator[SparkSession]:
    """A session of the Spark that processes with this `folder` share, for the time of the block.

    The first of them starts it, by PYSPARK_SUBMIT_ARGS, and ends it when the others are done.
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
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def address_of(session: SparkSession) -> dict[str, str]:
    """The variables by which PySpark finds this session's JVM."""
    java = session.sparkContext._gateway.gateway_parameters
    return {"PYSPARK_GATEWAY_PORT": str(java.port), "PYSPARK_GATEWAY_SECRET": java.auth_token}


def attach(variables: dict[str, str]) -> None:
    """Gives this process a session of its own in the JVM that is there."""
    with mock.patch.dict(os.environ, variables):
        gateway = launch_gateway()
    there = gateway.jvm.SparkSession.getDefaultSession().get()
    java = gateway.jvm.JavaSparkContext.fromSparkContext(there.sparkContext())
    context = SparkContext(conf=SparkConf(_jconf=java.getConf()), gateway=gateway, jsc=java)
    SparkSession(context, there.newSession())
