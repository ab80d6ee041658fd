"""What all tests share: one Spark session, as spark-submit would prepare it."""

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
from pipelines.tasks.adapt_domains import ModelKey
from tests.support.jobs import SHORT, environment_of_jobs
from tests.support.one_jvm import one_spark
from tests.support.settings import DATA, FRAMEWORK, SIZES
from training.artifacts.model_names import model_path
from training.config import load_config
from training.data.snapshot import take_snapshot


@pytest.fixture(scope="session", autouse=True)
def spark_settings():
    """The settings of all Spark jobs of tests, in this process and in others."""
    with environment_of_jobs(SHORT):
        yield


@pytest.fixture(scope="session")
def spark(spark_settings, tmp_path_factory):
    """A session of two local cores with the settings of the jobs; processes of one run of pytest share its JVM."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    own = {"spark.sql.warehouse.dir": folder / "warehouse", "spark.python.daemon.module": "tests.support.daemon"}
    arguments = [part for key, value in own.items() for part in ("--conf", f"{key}={value}")]
    with ExitStack() as running:
        with environment_of_jobs(), pytest.MonkeyPatch.context() as patch:  # with both compilers
            patch.setenv("PYSPARK_SUBMIT_ARGS", shlex.join(["--master", "local[2]", *arguments, "pyspark-shell"]))
            session = running.enter_context(one_spark(folder))
        yield session


@dataclass(frozen=True)
class Built:
    """A small built data set, and the config that made it."""

    config_path: str
    root: Path

    def config(self, *settings):
        return load_config(self.config_path, settings)

    def copy(self, folder):
        """Another root with the same tables and no models."""
        root = folder / "root"
        shutil.copytree(self.root / "tables", root / "tables")
        return f"root={root}"


@pytest.fixture(scope="session")
def built(spark, tmp_path_factory):
    """12 domains of 300 to 6 rows with labels, two of them heads, one with positives only."""
    folder = tmp_path_factory.mktemp("built")
    rng = np.random.default_rng(0)
    domain = np.repeat(np.arange(len(SIZES)), SIZES)
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
    """Writes down, as the first job would, that a trained model's domains keep 2, 1, 0, 2, ... rounds of DR."""

    def keep(config, rounds=(2, 1, 0)):
        snapshot = take_snapshot(config)
        key = ModelKey.find(config, snapshot.version)
        kept = {int(domain): rounds[domain % len(rounds)] for domain in snapshot.domains.domain_id}
        (model_path(config, key.specific) / "rounds.json").write_text(json.dumps(kept))

    return keep
