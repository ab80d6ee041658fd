"""Flags of Java and settings of Spark with which small jobs start and plan fast.

Inputs of tests have a few hundred rows, so a job's time is its start: loading classes, compiling, planning. The flags
below cut that time. PRODUCTION_OPTIONS undoes them for the tests that need Spark as users run it.
"""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pyspark

from tests.support.jobs import REPOSITORY, SPARK_SUBMIT

INSTALLED_SETTINGS = Path(pyspark.__path__[0]) / "conf"  # setup/install.sh writes it
EMPTY_FOLDER = REPOSITORY / ".venv" / "no_settings"
CLASS_ARCHIVE = REPOSITORY / ".venv" / "classes.jsa"  # tests/support/class_archive.py writes it
PATH = f"{Path(SPARK_SUBMIT).parent}{os.pathsep}{os.environ['PATH']}"  # this project's Python comes first

# Flags of every JVM: drivers, executors, standalone daemons.
JAVA = (
    "-XX:+UseSerialGC",
    "-XX:MetaspaceSize=256m",  # with the small default, loading Spark's classes triggers several full collections
    "-XX:ReservedCodeCacheSize=256m",  # the default of FIRST_COMPILER, 48m, fills up: Java drops code and recompiles it
    "-Duser.timezone=Asia/Kolkata",  # results must not depend on the machine's time zone
    f"-Dlog4j2.configurationFile={INSTALLED_SETTINGS / 'log4j2.properties'}",
)
# Java's slower, second compiler pays off only after about ten builds in one JVM.
FIRST_COMPILER = "-XX:TieredStopAtLevel=1"
# A driver's heap: most objects die with the plan they belong to, so the young generation is large.
DRIVER_HEAP = ("-Xms1g", "-Xmn512m")

SETTINGS = {
    # small: few partitions, no web server
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.ui.enabled": "false",
    # plan once, interpret instead of compile: on a few rows both take longer than running
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.ui.explainMode": "simple",
    # no checksum of a Delta version after each commit; readers do not need it
    "spark.databricks.delta.writeChecksumFile.enabled": "false",
    # outside UTC, Delta would verify the checksum by listing all files again
    "spark.databricks.delta.allFilesInCrc.verificationMode.forceOnNonUTC.enabled": "false",
    # strict: a job that collects a table of any size fails
    "spark.driver.maxResultSize": "1m",
}

# Options of spark-submit that restore what SETTINGS turns off.
PRODUCTION_OPTIONS = (
    *("--conf", "spark.sql.codegen.wholeStage=true"),
    *("--conf", "spark.sql.codegen.factoryMode=FALLBACK"),
    *("--conf", "spark.sql.adaptive.enabled=true"),
    *("--conf", "spark.databricks.delta.writeChecksumFile.enabled=true"),
)


def spark_variables(*driver_flags: str) -> dict[str, str]:
    """Returns the environment variables that give Spark the installed settings, SETTINGS and the flags of Java.

    All settings are passed as properties of the JVM, and SPARK_CONF_DIR is an empty folder. Java ignores a class
    archive if a folder with files is on the class path, and the archive makes a job start a quarter faster.
    """
    EMPTY_FOLDER.mkdir(exist_ok=True)
    lines = (INSTALLED_SETTINGS / "spark-defaults.conf").read_text().splitlines()
    installed = dict(line.split(maxsplit=1) for line in lines if not line.startswith("#"))
    java = [*JAVA, *([f"-XX:SharedArchiveFile={CLASS_ARCHIVE}"] if CLASS_ARCHIVE.exists() else [])]
    settings = {**installed, **SETTINGS, "spark.executor.extraJavaOptions": shlex.join([*java, FIRST_COMPILER])}
    properties = [f"-D{key}={value}" for key, value in settings.items()]
    return {
        "SPARK_CONF_DIR": str(EMPTY_FOLDER),
        "SPARK_DRIVER_MEMORY": "2g",
        "SPARK_DAEMON_JAVA_OPTS": shlex.join([*java, FIRST_COMPILER]),
        "SPARK_SUBMIT_OPTS": shlex.join([*java, *DRIVER_HEAP, *driver_flags, *properties]),
    }


@contextmanager
def environment_of_jobs(*driver_flags: str) -> Iterator[None]:
    """Sets PATH and Spark's variables for the commands that the block starts."""
    with mock.patch.dict(os.environ, {"PATH": PATH, **spark_variables(*driver_flags)}):
        yield
