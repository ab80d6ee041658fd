"""What the notebooks share: a session and a config to begin with, and a way to show plots."""

import os
import shlex
from pathlib import Path

from pyspark.sql import SparkSession

from pipelines.engine.session import spark_session
from training.config import Config, load_config

REPOSITORY = Path(__file__).parents[2]
SETTINGS, PLAN_SETTINGS = "MAMDR_SETTINGS", "MAMDR_PLAN_SETTINGS"  # environment variables


def start(config_path: str, *settings: str) -> tuple[SparkSession, Config]:
    """The session, Databricks' own where there is one, and the config; paths are those of the repository."""
    os.chdir(REPOSITORY)
    return spark_session("notebook"), load_config(config_path, [*settings, *further_settings(SETTINGS)])


def further_settings(variable: str) -> list[str]:
    """The key=value, with spaces between, of an environment variable; they come after a notebook's own."""
    return shlex.split(os.environ.get(variable, ""))


def show(svg: str, config: Config, name: str) -> None:
    """Shows a plot in a notebook; a script leaves it under ROOT/notebooks and prints where."""
    path = config.folder("notebooks", f"{name}.svg")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(svg)
    try:
        from IPython import get_ipython
        from IPython.display import SVG, display
    except ImportError:
        get_ipython = None
    if get_ipython is not None and get_ipython() is not None:
        display(SVG(svg))
    else:
        print(f"plot: {path}")
