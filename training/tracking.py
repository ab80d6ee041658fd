"""Logs metrics, tables and files to MLflow, in one run for each theta^S.

Training, evaluation and the report write to that run. MLFLOW_TRACKING_URI says where runs are stored; the default is
ROOT/mlflow.db, with files in ROOT/mlflow. MLFLOW_EXPERIMENT_NAME names the experiment; the default is the name of ROOT.
Without MLflow, or if its server does not answer, a command prints one warning and continues without tracking.
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
PARAMETERS_PER_REQUEST = 100  # MLflow accepts no more
MOST_CHARACTERS = 500  # of a parameter: MLflow accepts no more
TIMEOUTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


class Tracker:
    """Writes to a run in MLflow until a call fails. Without a client it logs nothing."""

    def __init__(self, client: MlflowClient | None = None, run: str = "") -> None:
        self._client, self._run = client, run

    def log(self, values: Mapping[str, float | None], step: int = 0) -> None:
        """Logs metrics; skips values that are None or not finite."""
        if self._client is None:
            return
        metric, now = importlib.import_module("mlflow.entities").Metric, int(time.time() * 1000)
        finite = {name: value for name, value in values.items() if value is not None and math.isfinite(value)}
        self._call("log_batch", [metric(name, value, now, step) for name, value in finite.items()])

    def log_table(self, frame: pd.DataFrame, name: str) -> None:
        """Logs a table as NAME.json."""
        self._call("log_table", frame, f"{name}.json")

    def log_file(self, text: str, name: str) -> None:
        """Logs a text file, such as a plot in SVG or a page in HTML."""
        self._call("log_text", text, name)

    def log_folder(self, folder: Path, name: str) -> None:
        """Logs the files of a folder under `name`."""
        self._call("log_artifacts", str(folder), name)

    def finish(self) -> None:
        """Marks the run as finished."""
        self._call("set_terminated")

    def _call(self, method: str, *arguments: object) -> None:
        if self._client is None:
            return
        try:
            getattr(self._client, method)(self._run, *arguments)
        except Exception as error:  # tracking must never end the command
            self._client = None
            _warn(error)


def open_tracker(config: Config, model: str) -> Tracker:
    """Returns a tracker for the run of theta^S `model`; only one rank may call it.

    If there is no such run yet, it creates one with all settings as parameters.
    """
    if not config.track:
        return Tracker()
    try:
        client = _connect(config)
        return Tracker(client, _find_run(client, config, model))
    except Exception as error:  # MLflow is not installed, does not answer, or its store has another version
        _warn(error)
        return Tracker()


def _connect(config: Config) -> MlflowClient:
    for name, value in TIMEOUTS.items():
        os.environ.setdefault(name, value)
    mlflow = importlib.import_module("mlflow")  # imported here because it takes seconds
    for name in ("alembic", "mlflow.store.db.utils"):  # both report that they create the tables of the database
        logging.getLogger(name).setLevel(logging.WARNING)
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{config.folder('mlflow.db')}"
    return mlflow.MlflowClient(uri)


def _find_run(client: MlflowClient, config: Config, model: str) -> str:
    root = config.folder()
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or root.name
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        files = None if os.environ.get("MLFLOW_TRACKING_URI") else (root / "mlflow").as_uri()
        experiment = client.get_experiment(client.create_experiment(name, files))
    runs = client.search_runs([experiment.experiment_id], f"tags.`{MODEL}` = '{model}'", max_results=1)
    if runs:
        return runs[0].info.run_id
    run = client.create_run(experiment.experiment_id, tags={MODEL: model}, run_name=model).info.run_id
    entities = importlib.import_module("mlflow.entities")
    settings = [(key, hide_secrets(str(value))[:MOST_CHARACTERS]) for key, value in flatten(asdict(config)).items()]
    parameters = [entities.Param(key, value) for key, value in settings]
    for begin in range(0, len(parameters), PARAMETERS_PER_REQUEST):
        client.log_batch(run, params=parameters[begin : begin + PARAMETERS_PER_REQUEST])
    return run


def _warn(error: Exception) -> None:
    reason = hide_secrets(str(error)).strip().splitlines() or [type(error).__name__]
    print(f"warning: tracking in MLflow stops here: {reason[0]}", file=sys.stderr, flush=True)
