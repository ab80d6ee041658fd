"""Reuses a stored theta^S for newer tables: extends it by rows for new ids, or starts training from it."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import torch

from training.artifacts.manifest import FOLDER, is_stored, state_of
from training.artifacts.model_folder import fetch_model
from training.artifacts.model_names import extended_state, shared_version
from training.artifacts.model_store import FROZEN, SHARDS, load_theta
from training.artifacts.provenance import made_now
from training.files import tensor_folder
from training.parameters.shard_files import Shards, load_shards

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from training.config import Config
    from training.data.schema import Schema
    from training.data.snapshot import Snapshot


def newest_trained_version(config: Config, table_version: int) -> int | None:
    """Returns the newest version of the samples, up to `table_version`, that has a model with these settings."""
    newest = _newest_model([config], table_version)
    return None if newest is None else newest[0]


def find_warm_start(config: Config, table_version: int) -> str | None:
    """Returns the name of the model that training starts from, or None if it starts from random values.

    With `training.warm_start` this is the model of the newest earlier version of the samples with the same settings.
    That model itself may have been trained with or without `warm_start`.
    """
    if not config.training.warm_start:
        return None
    from_scratch = replace(config, training=replace(config.training, warm_start=False))
    newest = _newest_model([config, from_scratch], table_version - 1)
    if newest is None:
        print(
            "no earlier version of the samples has a model with these settings: starting from scratch", file=sys.stderr
        )
        return None
    version, name = newest
    print(f"starting from model {name} of version {version} of the samples", file=sys.stderr)
    return name


def _newest_model(configs: Sequence[Config], table_version: int) -> tuple[int, str] | None:
    """Returns the newest version of the samples, up to `table_version`, with a model of `configs`, and its name."""
    for version in range(table_version, -1, -1):
        for config in configs:
            name = shared_version(config, version)
            if is_stored(fetch_model(config, name)):
                return version, name
    return None


def extend_theta(source: Path, target: Path, config: Config, snapshot: Snapshot, files: Mapping[str, Path]) -> None:
    """Copies theta^S from the model at `source` to `target`, and adds rows for ids that are new in `snapshot`.

    Sharded tables are copied as they are: their new rows are drawn when they are first looked up.

    Args:
        files: for each vocabulary with frozen vectors, a file with the vectors of all ids of `snapshot`.
    """
    tensors, manifest = _extended_tensors(source, config, snapshot.schema)
    if (source / SHARDS).exists():
        shutil.copytree(source / SHARDS, target / SHARDS, dirs_exist_ok=True)
    manifest |= {
        "state": extended_state(f"{source.name}.{state_of(manifest)}"),
        "grown_from": source.name,
        "table_version": snapshot.version,
        "schema": snapshot.schema.to_json(),
        "made": {**made_now(), "config": asdict(config)},
    }
    tensor_folder.save(target / FOLDER, tensors, manifest, {FROZEN.format(name): path for name, path in files.items()})


def initialize_from(source: Path, model: nn.Module, shards: Shards, config: Config, schema: Schema) -> None:
    """Fills `model` and `shards`, which are built for `schema`, with the values of the model at `source`."""
    tensors, _ = _extended_tensors(source, config, schema)
    model.load_state_dict(tensors, strict=False)  # the tensors lack the frozen tables
    if shards:
        load_shards(source / SHARDS, shards)


def _extended_tensors(source: Path, config: Config, schema: Schema) -> tuple[dict[str, Tensor], dict]:
    """Returns the tensors of the model at `source` with a row for each id of `schema`, and the model's manifest.

    A new user, item or feature value gets zeros, which is also how ids unknown to a model are scored. A new domain gets
    the mean of the existing domains.
    """
    _, theta = load_theta(source, config)
    tensors, manifest = tensor_folder.load(source / FOLDER)
    for name, vocabulary in theta.vocabulary_of.items():
        if name in tensors and vocabulary not in config.training.sharded:
            table = tensors[name]
            new_row = table.mean(0) if vocabulary == "domain_id" else torch.zeros_like(table[0])
            tensors[name] = torch.cat([table, new_row.expand(schema.sizes[vocabulary] - len(table), -1)])
    return tensors, manifest
