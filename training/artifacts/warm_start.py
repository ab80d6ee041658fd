"""A theta^S for tables that have grown: the rows of the model that is there, and rows for the ids that are new."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from training.artifacts.model_names import extended_state, fetch_model, shared_version
from training.artifacts.model_store import FOLDER, FROZEN, SHARDS, is_stored, load_theta, state_of
from training.artifacts.provenance import made_now
from training.config import Config
from training.data.schema import Schema
from training.data.snapshot import Snapshot
from training.files import tensor_folder
from training.parameters.shard_files import Shards, load_shards


def newest_trained_version(config: Config, table_version: int) -> int | None:
    """The newest version of the samples, up to `table_version`, that has a model with these settings."""
    found = _newest_model([config], table_version)
    return None if found is None else found[0]


def find_warm_start(config: Config, table_version: int) -> str | None:
    """The name of the model that training starts from; None: from values as they are drawn.

    With `training.warm_start` it is the model of the newest earlier version of the tables that has these settings, but
    for `warm_start` itself: the first was trained from scratch.
    """
    if not config.training.warm_start:
        return None
    from_scratch = replace(config, training=replace(config.training, warm_start=False))
    found = _newest_model([config, from_scratch], table_version - 1)
    if found is None:
        print("no earlier samples have a model with these settings: starting from scratch", file=sys.stderr)
        return None
    version, name = found
    print(f"starting from model {name} of version {version} of the samples", file=sys.stderr)
    return name


def _newest_model(configs: Sequence[Config], table_version: int) -> tuple[int, str] | None:
    """The newest version of the samples, up to `table_version`, that has a model of one of `configs`, and its name."""
    for version in range(table_version, -1, -1):
        for config in configs:
            name = shared_version(config, version)
            if is_stored(fetch_model(config, name)):
                return version, name
    return None


def extend_theta(source: Path, target: Path, config: Config, snapshot: Snapshot, files: Mapping[str, Path]) -> None:
    """Stores the theta^S of the model at `source` as that of `target`, with rows for the ids that `snapshot` has more.

    Rows of sharded tables are drawn when they are looked up.

    Args:
        files: by vocabulary, the frozen vectors for all ids of `snapshot`.
    """
    tensors, manifest = _grown(source, config, snapshot.schema)
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
    """Gives `model` and `shards`, which are built for `schema`, the values of the model at `source`."""
    tensors, _ = _grown(source, config, schema)
    model.load_state_dict(tensors, strict=False)  # frozen tables are not among them
    if shards:
        load_shards(source / SHARDS, shards)


def _grown(source: Path, config: Config, schema: Schema) -> tuple[dict[str, Tensor], dict]:
    """The tensors of the model at `source` with a row for each id of `schema`, and the manifest.

    A new user, item or value of a feature gets zeros, as one that the model does not know is scored; a new domain, in
    tables by domain, the mean of the domains that are there.
    """
    _, theta = load_theta(source, config)
    tensors, manifest = tensor_folder.load(source / FOLDER)
    for name, vocabulary in theta.vocabulary_of.items():
        if name in tensors and vocabulary not in config.training.sharded:
            table = tensors[name]
            filling = table.mean(0) if vocabulary == "domain_id" else torch.zeros_like(table[0])
            tensors[name] = torch.cat([table, filling.expand(schema.sizes[vocabulary] - len(table), -1)])
    return tensors, manifest
