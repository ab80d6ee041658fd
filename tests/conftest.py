"""Fixtures of all tests: the Spark session, a small built data set, and stored numbers of rounds."""

import json
import os
import shlex
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.build_domains import build_domains
from pipelines.tasks.model_key import ModelKey
from tests.support.one_jvm import shared_session
from tests.support.settings import DATA, DOMAIN_SIZES, FRAMEWORK
from tests.support.spark_flags import FIRST_COMPILER, environment_of_jobs
from training.artifacts.model_names import model_path
from training.config import Config, load_config
from training.data.snapshot import take_snapshot


@pytest.fixture(scope="session", autouse=True)
def spark_settings():
    """Sets the environment variables of all commands that tests start."""
    with environment_of_jobs(FIRST_COMPILER):
        yield


@pytest.fixture(scope="session")
def spark(spark_settings, tmp_path_factory):
    """Returns a session of two local cores with the settings of the jobs; pytest's processes share its JVM."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    settings = {"spark.sql.warehouse.dir": folder / "warehouse", "spark.python.daemon.module": "tests.support.daemon"}
    options = [option for key, value in settings.items() for option in ("--conf", f"{key}={value}")]
    with ExitStack() as stack:
        # this JVM runs long enough for Java's second compiler to pay off
        with environment_of_jobs(), pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYSPARK_SUBMIT_ARGS", shlex.join(["--master", "local[2]", *options, "pyspark-shell"]))
            session = stack.enter_context(shared_session(folder))
        yield session


@dataclass(frozen=True)
class Built:
    """Represents a small data set whose tables are built.

    Attributes:
        config_path: the config that the build read.
        root: the folder of its tables.
    """

    config_path: str
    root: Path

    def config(self, *settings: str) -> Config:
        """Loads the config, with settings such as "training.epochs=1" changed."""
        return load_config(self.config_path, settings)

    def copy(self, folder: Path) -> str:
        """Copies the tables to a new root without models; returns the setting that selects this root."""
        root = folder / "root"
        shutil.copytree(self.root / "tables", root / "tables")
        return f"root={root}"


@pytest.fixture(scope="session")
def built(spark, tmp_path_factory):
    """Builds 12 domains of 300 to 6 labelled rows; two are head domains, domain 5 has positives only."""
    folder = tmp_path_factory.mktemp("built")
    rng = np.random.default_rng(0)
    domain = np.repeat(np.arange(len(DOMAIN_SIZES)), DOMAIN_SIZES)
    user, item = rng.integers(40, size=len(domain)), rng.integers(25, size=len(domain))
    label = ((user + item + domain + rng.integers(4, size=len(domain))) % 5 < 2).astype(int)
    label[domain == 5] = 1
    columns = {"user": user, "item": item, "domain": [f"domain {d}" for d in domain], "label": label}
    pq.write_table(pa.table(columns), folder / "log.parquet")
    config = {
        "root": str(folder / "root"),
        "track": False,
        "data": {"source": "parquet", "path": str(folder / "log.parquet"), **DATA},
        "model": {"embedding_dim": 4, "hidden": [16, 8], "dropout": 0.1},
        "framework": {**FRAMEWORK, "stop_group": 5},
        "training": {"batch_size": 32, "epochs": 2},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    result = Built(str(path), folder / "root")
    build_domains(spark, result.config())
    return result


@pytest.fixture(scope="session")
def keep_rounds():
    """Returns a function that stores how many rounds of DR each domain of a trained model keeps.

    The first job after training would choose these numbers on validation data; tests need them fixed: 2, 1, 0, 2, ...
    """

    def keep(config, rounds=(2, 1, 0)):
        snapshot = take_snapshot(config)
        key = ModelKey.find(config, snapshot.version)
        rounds_of_domains = {int(domain): rounds[domain % len(rounds)] for domain in snapshot.domains.domain_id}
        (model_path(config, key.model_version) / "rounds.json").write_text(json.dumps(rounds_of_domains))

    return keep
