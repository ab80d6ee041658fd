"""Helps notebooks: gives them a session and a config, and shows plots."""

import os
import shlex
from importlib import import_module
from pathlib import Path

from pyspark.sql import SparkSession

from pipelines.engine.session import spark_session
from training.config import Config, load_config

REPOSITORY = Path(__file__).parents[2]
SETTINGS, PLAN_SETTINGS = "MAMDR_SETTINGS", "MAMDR_PLAN_SETTINGS"  # environment variables


def start(config_path: str, *settings: str) -> tuple[SparkSession, Config]:
    """Returns a session (on Databricks, the existing one) and the config; paths start at the repository."""
    os.chdir(REPOSITORY)
    return spark_session("notebook"), load_config(config_path, [*settings, *further_settings(SETTINGS)])


def further_settings(variable: str) -> list[str]:
    """Reads key=value settings, separated by spaces, from an environment variable; they override a notebook's."""
    return shlex.split(os.environ.get(variable, ""))


def show(svg: str, config: Config, name: str) -> None:
    """Writes a plot to ROOT/notebooks; a notebook shows it, a script prints its path."""
    path = config.folder("notebooks", f"{name}.svg")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(svg)
    try:
        ipython = import_module("IPython")  # comes with a notebook's kernel, not with this project
    except ImportError:
        ipython = None
    if ipython is not None and ipython.get_ipython() is not None:
        display = import_module("IPython.display")
        display.display(display.SVG(svg))
    else:
        print(f"plot: {path}")
