"""Runs in MLflow: one for each theta^S, to which training, evaluation and the report write.

They go to MLFLOW_TRACKING_URI, or else to ROOT/mlflow.db, with their files in ROOT/mlflow. The experiment is
MLFLOW_EXPERIMENT_NAME, or else is named as the root. Where MLflow is not installed or its server does not answer, one
warning says so, and the work goes on without.
"""

from __future__ import annotations

import importlib
import logging
import math
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from training.config import Config, flatten
from training.redaction import hide_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODEL = "mamdr.model"  # the tag that names theta^S
AT_ONCE = 100  # parameters in a request ...
LONGEST = 500  # ... and characters of one
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


class Tracker:
    """A run in MLflow, until a call fails; without a client, nothing is logged."""

    def __init__(self, client: MlflowClient | None = None, run: str = "") -> None:
        self._client, self._run = client, run

    def log(self, values: Mapping[str, float | None], step: int = 0) -> None:
        """Adds figures; those that are None or not finite are left out."""
        if self._client is None:
            return
        metric, now = importlib.import_module("mlflow.entities").Metric, int(time.time() * 1000)
        finite = {name: value for name, value in values.items() if value is not None and math.isfinite(value)}
        self._call("log_batch", [metric(name, value, now, step) for name, value in finite.items()])

    def log_table(self, frame: pd.DataFrame, name: str) -> None:
        """Adds `frame` as NAME.json."""
        self._call("log_table", frame, f"{name}.json")

    def log_file(self, text: str, name: str) -> None:
        """Adds a file of text: a plot as SVG, a page as HTML."""
        self._call("log_text", text, name)

    def log_folder(self, folder: Path, name: str) -> None:
        """Adds the files of a folder under `name`."""
        self._call("log_artifacts", str(folder), name)

    def finish(self) -> None:
        self._call("set_terminated")

    def _call(self, method: str, *arguments: object) -> None:
        if self._client is None:
            return
        try:
            getattr(self._client, method)(self._run, *arguments)
        except Exception as error:  # whatever it is, the work matters more
            self._client = None
            _warn(error)


def open_run(config: Config, model: str) -> Tracker:
    """The run of theta^S `model`; a new one gets all settings as its parameters. Only one rank may ask."""
    if not config.track:
        return Tracker()
    try:
        client = _connect(config)
        return Tracker(client, _find_run(client, config, model))
    except Exception as error:  # MLflow is not there, or its server, or its store is of another version
        _warn(error)
        return Tracker()


def _connect(config: Config) -> MlflowClient:
    for name, value in IMPATIENT.items():
        os.environ.setdefault(name, value)
    mlflow = importlib.import_module("mlflow")  # takes seconds: only where it is used
    logging.getLogger("alembic").setLevel(logging.WARNING)
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{config.folder('mlflow.db')}"
    return mlflow.MlflowClient(uri)


def _find_run(client: MlflowClient, config: Config, model: str) -> str:
    root = config.folder()
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or root.name
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        files = None if os.environ.get("MLFLOW_TRACKING_URI") else (root / "mlflow").as_uri()
        experiment = client.get_experiment(client.create_experiment(name, files))
    found = client.search_runs([experiment.experiment_id], f"tags.`{MODEL}` = '{model}'", max_results=1)
    if found:
        return found[0].info.run_id
    run = client.create_run(experiment.experiment_id, tags={MODEL: model}, run_name=model).info.run_id
    entities = importlib.import_module("mlflow.entities")
    settings = [(key, hide_secrets(str(value))[:LONGEST]) for key, value in flatten(asdict(config)).items()]
    parameters = [entities.Param(key, value) for key, value in settings]
    for begin in range(0, len(parameters), AT_ONCE):
        client.log_batch(run, params=parameters[begin : begin + AT_ONCE])
    return run


def _warn(error: Exception) -> None:
    reason = hide_secrets(str(error)).strip().splitlines() or [type(error).__name__]
    print(f"warning: MLflow is not used from here on: {reason[0]}", file=sys.stderr, flush=True)
