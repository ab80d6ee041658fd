"""Stores theta^S on disk, and opens it for the jobs and for serving.

The model's folder holds
    theta/   tensors by name (safetensors), frozen vectors (NPY, hard links to the files that training read), and a
             manifest (JSON) of what the model was made from
    shards/  the rows of sharded tables
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch

from training.artifacts.manifest import FOLDER
from training.artifacts.provenance import made_now
from training.data.frozen_vectors import open_vectors
from training.data.schema import Schema
from training.files import tensor_folder
from training.frameworks.common.registry import prepare
from training.models import make_model
from training.parameters.shard_files import attach_stored_tables, save_shards
from training.parameters.shared import SharedParameters

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from training.config import Config
    from training.data.snapshot import Snapshot
    from training.distributed.ranks import Ranks

SHARDS, FROZEN = "shards", "{}.npy"


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """Records what a theta^S was trained from, for its manifest.

    Attributes:
        config: the settings of the run.
        snapshot: the tables that it read.
        vector_files: for each vocabulary with frozen vectors, the file that holds them.
        started_from: the name of the model that training started from, or None if its first values were random.
        progress: how far training came.
    """

    config: Config
    snapshot: Snapshot
    vector_files: Mapping[str, Path]
    started_from: str | None
    progress: dict


def save_theta(
    model_path: Path, model: nn.Module, theta: SharedParameters, ranks: Ranks, record: TrainingRecord
) -> None:
    """Stores all parameters and statistics of a trained model, with a manifest. Every rank must call it."""
    if theta.shards:
        names = {vocabulary: theta.sharded_tables(vocabulary) for vocabulary in theta.shards}
        save_shards(model_path / SHARDS, theta.shards, ranks, names)
    manifest = {
        "table_version": record.snapshot.version,
        "schema": record.snapshot.schema.to_json(),
        "frozen": sorted(record.vector_files),
        "progress": record.progress,
        "started_from": record.started_from,
        "made": {**made_now(), "config": asdict(record.config)},
    }
    if ranks.is_root:
        tensors = {name: value for name, value in model.state_dict().items() if name not in theta.frozen}
        files = {FROZEN.format(vocabulary): path for vocabulary, path in record.vector_files.items()}
        tensor_folder.save(model_path / FOLDER, tensors, manifest, files)
    ranks.wait()


def load_theta(model_path: Path, config: Config) -> tuple[nn.Module, SharedParameters]:
    """Opens a stored model. Its parameters are memory-mapped, so the processes of a machine share them."""
    tensors, manifest = tensor_folder.load(model_path / FOLDER)
    schema = Schema.from_json(manifest["schema"])
    frozen = {
        vocabulary: open_vectors(model_path / FOLDER / FROZEN.format(vocabulary)) for vocabulary in manifest["frozen"]
    }
    with torch.device("meta"):
        model = make_model(config.model, schema.with_one_id(config.training.sharded), 0, frozen)
        prepare(model, schema, config.framework)
    theta = SharedParameters.of(model)
    tensors |= {name: frozen[theta.vocabulary_of[name]] for name in theta.frozen}
    model.load_state_dict(tensors, assign=True)
    theta = SharedParameters.of(model)
    attach_stored_tables(theta, model_path / SHARDS, schema, config)
    return model, theta
