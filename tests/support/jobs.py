"""Jobs as a user starts them."""

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import pyspark

REPOSITORY = Path(__file__).parents[2]
SUBMIT = str(Path(sys.executable).with_name("spark-submit"))
PATH = f"{Path(SUBMIT).parent}{os.pathsep}{os.environ['PATH']}"  # with the python of this project first
INSTALLED = Path(pyspark.__path__[0]) / "conf"  # settings by setup/
NO_SETTINGS = REPOSITORY / ".venv" / "no_settings"
CLASSES = REPOSITORY / ".venv" / "classes.jsa"  # made by tests/support/classes.py
JAVA = (
    "-XX:+UseSerialGC",
    "-XX:MetaspaceSize=256m",  # else each time that so many classes more are loaded, all garbage is collected
    "-XX:ReservedCodeCacheSize=256m",  # the first compiler alone would have 48, throw code away and compile it again
    "-Duser.timezone=Asia/Kolkata",  # jobs set the zone of a session, whatever the machine's is
    f"-Dlog4j2.configurationFile={INSTALLED / 'log4j2.properties'}",
)
YOUNG = ("-Xms1g", "-Xmn512m")  # a driver's heap: most objects live for one plan
SHORT = "-XX:TieredStopAtLevel=1"  # the second compiler pays after some ten builds
SETTINGS = {
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.ui.enabled": "false",
    # inputs of two rows: compiling and planning again take longer than running
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.ui.explainMode": "simple",
    # away from UTC, Delta would list the files of a table anew after each commit, to compare them
    "spark.databricks.delta.allFilesInCrc.verificationMode.forceOnNonUTC.enabled": "false",
    "spark.databricks.delta.writeChecksumFile.enabled": "false",  # of a version, which Delta writes and does not need
    "spark.driver.maxResultSize": "1m",  # whoever collects a table fails at one of some size
}
AS_USERS_HAVE_IT = (
    *("--conf", "spark.sql.codegen.wholeStage=true"),
    *("--conf", "spark.sql.codegen.factoryMode=FALLBACK"),
    *("--conf", "spark.sql.adaptive.enabled=true"),
    *("--conf", "spark.databricks.delta.writeChecksumFile.enabled=true"),
)
CLUSTER = "local-cluster[2,1,1024]"  # two executors, in processes of their own
ONE_EXECUTOR = "local-cluster[1,1,1024]"


def spark_variables(*options: str) -> dict[str, str]:
    """Variables of the environment that give Spark what setup/ installs, SETTINGS, and further options of Java.

    They are properties of the JVM, and the folder of settings is an empty one: Java takes no classes from an archive,
    by which a job takes a quarter less time, where there is a folder with files on its class path.
    """
    NO_SETTINGS.mkdir(exist_ok=True)
    lines = (INSTALLED / "spark-defaults.conf").read_text().splitlines()
    installed = dict(line.split(maxsplit=1) for line in lines if not line.startswith("#"))
    java = [*JAVA, *([f"-XX:SharedArchiveFile={CLASSES}"] if CLASSES.exists() else [])]
    settings = {**installed, **SETTINGS, "spark.executor.extraJavaOptions": shlex.join([*java, SHORT])}
    properties = [f"-D{key}={value}" for key, value in settings.items()]
    return {
        "SPARK_CONF_DIR": str(NO_SETTINGS),
        "SPARK_DRIVER_MEMORY": "2g",
        "SPARK_DAEMON_JAVA_OPTS": shlex.join([*java, SHORT]),
        "SPARK_SUBMIT_OPTS": shlex.join([*java, *YOUNG, *options, *properties]),
    }


@contextmanager
def environment_of_jobs(*options: str) -> Iterator[None]:
    """For the time of the block, commands find what this project installed first, and Spark its variables."""
    with mock.patch.dict(os.environ, {"PATH": PATH, **spark_variables(*options)}):
        yield


def submit(master: str, *arguments: str) -> subprocess.CompletedProcess:
    """What came out of spark-submit with these arguments."""
    return _outcome([SUBMIT, "--master", master, *arguments], 600)


def horovodrun(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """What came out of horovodrun with these arguments and, beside ours, these variables of the environment."""
    return _outcome(["horovodrun", *arguments], 300, **variables)


def _outcome(command: list[str], seconds: int, **variables: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=seconds)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def standalone(folder: Path) -> Iterator[str]:
    """The address of a standalone master on loopback whose worker has two executors, for the time of the block."""
    port = free_port()
    address = f"spark://127.0.0.1:{port}"
    worker = ("worker.Worker", "--cores", "2", "--memory", "2g", "--work-dir", str(folder), address)
    with ExitStack() as processes:
        for name, *arguments in (("master.Master", "--port", str(port)), worker):
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
