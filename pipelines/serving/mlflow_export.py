"""Writes an MLflow model that carries the code it runs and names the versions of the libraries it needs."""

import re
import tempfile
import warnings
from collections.abc import Iterator
from importlib import import_module, metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path

from training.config import Config
from training.errors import UserError
from training.files.atomic_write import atomic_write

PACKAGE = "training"  # what a served model runs
ENTRY = "serving/mlflow_model.py"  # in PACKAGE; defines the class that MLflow calls


def save_model(path: Path, models: list[dict], config: Config) -> None:
    """Writes the MLflow model to `path` and replaces an existing one. Raises UserError if MLflow is not installed."""
    try:
        mlflow = import_module("mlflow")
    except ImportError:
        raise UserError("MLflow, which export_model.py needs, is not installed: pip install mlflow") from None
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
    from mlflow.types.schema import Array

    request: list[ColSpec | TensorSpec] = [
        ColSpec("string", "domain"),
        ColSpec("string", "user"),
        ColSpec(Array(DataType.string), "items"),
    ]
    root = str(config.folder())
    with atomic_write(path) as temporary, tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*An input example was not provided")
        code = Path(folder, PACKAGE)
        copy_package(resources.files(PACKAGE), code)
        mlflow.pyfunc.save_model(
            temporary,
            python_model=str(code / ENTRY),
            code_paths=[str(code)],
            model_config={"served": models, "root": root, "cached_domains": config.serve.cached_domains},
            signature=ModelSignature(Schema(request), params=ParamSchema([ParamSpec("top_k", "long", 0)])),
            pip_requirements=list(serving_requirements()),
        )


def copy_package(package: Traversable, target: Path) -> None:
    """Copies the files of a package, which may lie in a folder or inside a wheel given by --py-files."""
    target.mkdir()
    for entry in package.iterdir():
        if entry.is_file():
            (target / entry.name).write_bytes(entry.read_bytes())
        elif entry.name != "__pycache__":
            copy_package(entry, target / entry.name)


def serving_requirements() -> Iterator[str]:
    """Yields what the extra `serve` of this project requires, each in the version that is installed here.

    Raises:
        UserError: the project or a requirement is not installed.
    """
    try:
        for requirement in metadata.requires("mamdr") or []:
            name, _, marker = requirement.partition(";")
            if not marker or 'extra == "serve"' in marker:
                [name] = re.findall(r"^[\w.-]+", name)
                yield f"{name}=={metadata.version(name)}"
    except metadata.PackageNotFoundError as error:
        raise UserError(
            f'package "{error.name}" is not installed, so the exported model cannot name its version: '
            'run make setup, or pip install "mamdr[serve]" from the wheel that make dist builds'
        ) from None
