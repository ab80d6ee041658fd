"""theta^S on disk, as the jobs read it: MODEL/theta, tensors by name (safetensors) and a manifest (JSON)."""

import json
from pathlib import Path

import torch
from torch import nn

from training import checkpoint
from training.config import ModelConfig
from training.errors import UserError
from training.models import build_model
from training.parameters import Parameters
from training.snapshot import Snapshot

FOLDER = "theta"


def save_theta(model_path: Path, theta: Parameters, snapshot: Snapshot, progress: dict) -> None:
    """Writes all parameters, and what they were made from."""
    manifest = {
        "table_version": snapshot.version,
        "sizes": snapshot.sizes,
        "frozen": sorted(theta.frozen),
        "progress": progress,
    }
    checkpoint.save(model_path / FOLDER, {**theta.trained(), **theta.frozen}, manifest)


def load_theta(model_path: Path, config: ModelConfig) -> tuple[nn.Module, Parameters]:
    """The module with its parameters memory-mapped from disk, so that processes of one machine share them."""
    tensors, manifest = checkpoint.load(model_path / FOLDER)
    with torch.device("meta"):
        vectors = {name.split(".")[1]: torch.empty(tensors[name].shape) for name in manifest["frozen"]}
        model = build_model(config, manifest["sizes"], 0, vectors)
    model.load_state_dict(tensors, assign=True)
    return model, Parameters.of(model)


def read_manifest(model_path: Path) -> dict:
    """What theta^S was made from: table_version, sizes, frozen, progress. Raises UserError if there is none."""
    if not (model_path / FOLDER).exists():
        raise UserError(f"model {model_path} does not exist: run training/train.py with the same config and settings")
    return json.loads((model_path / FOLDER / checkpoint.STATE).read_text())
