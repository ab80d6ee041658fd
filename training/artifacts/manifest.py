"""Reads the manifest of a stored theta^S: what it was made from. Needs no torch, so models are listed without it."""

import json
from pathlib import Path

from training.errors import UserError
from training.files import tensor_folder

FOLDER = "theta"  # in the folder of a model


def is_stored(model_path: Path) -> bool:
    """Returns whether the folder `model_path` holds a theta^S."""
    return (model_path / FOLDER).exists()


def state_of(manifest: dict) -> str:
    """Returns the state of a theta^S, a part of the model's name (see training/artifacts/model_names.py)."""
    return manifest.get("state", trained_state(manifest["progress"]["best_epoch"]))


def read_manifest(model_path: Path) -> dict:
    """Returns what a theta^S was made from: table_version, schema, frozen, progress and more.

    Raises:
        UserError: no theta^S is stored in `model_path`.
    """
    if not is_stored(model_path):
        raise UserError(f"model {model_path} does not exist: run training/train.py with the same config and settings")
    return json.loads((model_path / FOLDER / tensor_folder.STATE).read_text())


def trained_state(best_epoch: int) -> str:
    """Returns the state of a theta^S that was trained: the epoch that it is from."""
    return f"epoch-{best_epoch}"
