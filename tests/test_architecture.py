"""Tests how the code is laid out; `lint-imports` checks which layer may import which (see pyproject.toml)."""

import subprocess
import sys
import textwrap
from collections import Counter
from functools import cache
from pathlib import Path

import grimp
import pytest

from tests.support.jobs import REPOSITORY

LONGEST_CHAIN = 14
LARGEST_FOLDER = 15
ONE_FILE_PER_MODEL = Path("training/models")

IMPORT_ALL = """
    import importlib, pkgutil, sys

    sys.modules.update(dict.fromkeys({blocked}))  # an import of a module that is None fails
    for name in {names}:
        module = importlib.import_module(name)
        for _, submodule, _ in pkgutil.walk_packages(getattr(module, "__path__", []), name + "."):
            if not submodule.endswith("__main__"):
                importlib.import_module(submodule)
"""


def run_python(code):
    """Runs the code in a new Python process and fails if the code does."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_chain_of_imports_is_long():
    """A reader who follows imports from any file reaches the bottom within a few files."""
    graph = grimp.build_graph("training", "pipelines", exclude_type_checking_imports=True)

    @cache
    def longest_chain(module):
        below = map(longest_chain, sorted(graph.find_modules_directly_imported_by(module)))
        return [module, *max(below, key=len, default=[])]

    chain = max(map(longest_chain, sorted(graph.modules)), key=len)
    assert len(chain) <= LONGEST_CHAIN, " imports ".join(chain)


@pytest.mark.parametrize("root", ["training", "pipelines", "tests", "benchmarks"])
def test_no_folder_holds_many_files(root):
    paths = [path.relative_to(REPOSITORY) for path in (REPOSITORY / root).rglob("*.py")]
    sizes = Counter(path.parent for path in paths if path.parent != ONE_FILE_PER_MODEL)
    assert {str(folder): size for folder, size in sizes.items() if size > LARGEST_FOLDER} == {}


@pytest.mark.parametrize("folder", ["pipelines", "training", "benchmarks"])
def test_no_file_beside_a_script_hides_a_standard_module(folder):
    """Python searches the script's folder first: NumPy's `import secrets` would load a secrets.py of ours."""
    names = {path.stem for path in (REPOSITORY / folder).iterdir() if path.suffix == ".py" or path.is_dir()}
    assert names & sys.stdlib_module_names == set()


@pytest.mark.parametrize(
    ("blocked", "names"),
    [
        (
            ["horovod", "pyspark", "petastorm"],
            ["training.serving", "training.artifacts", "training.list_models", "training.report"],
        ),
        (["horovod", "petastorm"], ["pipelines.tasks", "pipelines.serving", "pipelines.score", "pipelines.evaluate"]),
    ],
)
def test_serving_and_scoring_need_no_engine_of_training(blocked, names):
    """Serving needs neither Horovod, Spark nor Petastorm; Spark jobs that use a model need Spark alone."""
    run_python(IMPORT_ALL.format(blocked=blocked, names=names))


def test_models_are_named_and_listed_without_torch():
    loaded = run_python(
        """
        import sys
        from training.artifacts.model_names import shared_version, specific_version
        from training.config import load_config
        from training.list_models import list_models

        config = load_config("conf/ml_latest_small.yaml", ["root=runs/none"])
        specific_version(config, shared_version(config, 0), "epoch-1")
        list_models(config)
        print(*sorted({"torch", "horovod", "pyspark", "petastorm"} & sys.modules.keys()))
        """
    )
    assert loaded.split() == []


def test_no_two_test_files_have_the_same_name():
    """pytest imports test files by their names alone."""
    names = Counter(path.name for path in (REPOSITORY / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
