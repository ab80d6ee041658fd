"""theta^S on disk, as the jobs read it.

MODEL/theta has the tensors by name (safetensors), frozen vectors (NPY, links to the files that the trainer read) and a
manifest (JSON: what it was made from, by which commit and when), MODEL/shards the rows of sharded tables.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from training.artifacts.model_names import trained_state
from training.artifacts.provenance import made_now
from training.config import Config
from training.data.frozen_vectors import open_vectors
from training.data.schema import Schema
from training.data.snapshot import Snapshot
from training.distributed.ranks import Ranks
from training.errors import UserError
from training.files import tensor_folder
from training.frameworks import prepare
from training.models import make_model
from training.parameters.shard_files import attach_stored_tables, save_shards
from training.parameters.shared import SharedParameters

FOLDER, SHARDS, FROZEN = "theta", "shards", "{}.npy"


def save_theta(
    model_path: Path,
    model: nn.Module,
    theta: SharedParameters,
    snapshot: Snapshot,
    ranks: Ranks,
    progress: dict,
    frozen: Mapping[str, Path],
    origin: str | None,
    config: Config,
) -> None:
    """Writes all parameters and statistics, and what they were made from. Every rank must call it.

    Args:
        frozen: by vocabulary the file that its frozen vectors were read from.
        origin: the name of the model that training started from; None: from values as they were drawn.
    """
    if theta.shards:
        names = {vocabulary: theta.sharded_tables(vocabulary) for vocabulary in theta.shards}
        save_shards(model_path / SHARDS, theta.shards, ranks, names)
    manifest = {
        "table_version": snapshot.version,
        "schema": snapshot.schema.to_json(),
        "frozen": sorted(frozen),
        "progress": progress,
        "started_from": origin,
        "made": {**made_now(), "config": asdict(config)},
    }
    if ranks.is_root:
        tensors = {name: value for name, value in model.state_dict().items() if name not in theta.frozen}
        files = {FROZEN.format(vocabulary): path for vocabulary, path in frozen.items()}
        tensor_folder.save(model_path / FOLDER, tensors, manifest, files)
    ranks.wait()


def load_theta(model_path: Path, config: Config) -> tuple[nn.Module, SharedParameters]:
    """The module with its parameters memory-mapped from disk, so that processes of one machine share them."""
    tensors, manifest = tensor_folder.load(model_path / FOLDER)
    schema = Schema.from_json(manifest["schema"])
    frozen = {
        vocabulary: open_vectors(model_path / FOLDER / FROZEN.format(vocabulary)) for vocabulary in manifest["frozen"]
    }
    with torch.device("meta"):
        model = make_model(config.model, schema.with_one_id(config.training.sharded), 0, frozen)
        prepare(model, schema, config.framework)
    tensors |= {name: frozen[model.tables[name]] for name in SharedParameters.of(model).frozen}
    model.load_state_dict(tensors, assign=True)
    theta = SharedParameters.of(model)
    attach_stored_tables(theta, model_path / SHARDS, schema, config)
    return model, theta


def is_stored(model_path: Path) -> bool:
    """Whether there is a theta^S at `model_path`."""
    return (model_path / FOLDER).exists()


def state_of(manifest: dict) -> str:
    """The state of theta^S, see training/artifacts/model_names.py."""
    return manifest.get("state", trained_state(manifest["progress"]["best_epoch"]))


def read_manifest(model_path: Path) -> dict:
    """What theta^S was made from: table_version, schema, frozen, progress. Raises UserError if there is none."""
    if not is_stored(model_path):
        raise UserError(f"model {model_path} does not exist: run training/train.py with the same config and settings")
    return json.loads((model_path / FOLDER / tensor_folder.STATE).read_text())
