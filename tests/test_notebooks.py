"""Runs the notebooks as Databricks does, cell by cell in an existing session, and as scripts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
SMALL = [
    "data.domains=[Comedy,Drama,Western,a new theme]",
    "training.epochs=1",
    "framework.dr_rounds=1",
    "framework.stop_group=2",
    "track=false",
]


def cells_of(path):
    """Returns the code cells of a notebook in Databricks' source format."""
    first, *lines = path.read_text().split("\n")
    assert first == "# Databricks notebook source"
    cells = "\n".join(lines).split("\n# COMMAND ----------\n")
    return [cell for cell in cells if not cell.strip().startswith("# MAGIC")]


def quoted(settings):
    """Returns settings as one string, for an environment variable."""
    return " ".join(f"'{setting}'" for setting in settings)


@pytest.fixture(scope="module")
def variables(tmp_path_factory):
    """Returns the environment variables that make the notebooks small; all notebooks share one root."""
    folder = tmp_path_factory.mktemp("notebooks")
    plan = [f"root={folder}/compare", "methods=[joint]", f"settings={[SMALL[0], *SMALL[1:]]}".replace("'", '"')]
    return {
        "MAMDR_SETTINGS": quoted([f"root={folder}/root", *SMALL]),
        "MAMDR_PLAN_SETTINGS": quoted(plan),
    }


def test_notebook_runs_as_a_script(variables, tmp_path):
    """Runs the last notebook; the next test reuses its finished comparison."""
    command = [sys.executable, str(NOTEBOOKS[-1])]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "| mlp+joint |" in done.stdout


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_cell_by_cell_after_the_earlier_ones(spark, path, variables, monkeypatch, capsys):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ROOT)
    namespace = {"spark": spark, "__name__": "__main__"}
    for number, cell in enumerate(cells_of(path)):
        exec(compile(cell, f"{path.name}, cell {number}", "exec"), namespace)
    assert namespace["spark"] is spark
    shown = capsys.readouterr().out
    assert shown
    plots = [line.removeprefix("plot: ") for line in shown.splitlines() if line.startswith("plot: ")]
    assert len(plots) == path.read_text().count("show(svg")
    assert all(Path(plot).read_text().startswith("<svg") for plot in plots)
