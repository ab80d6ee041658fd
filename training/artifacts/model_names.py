"""Names of models: the same settings and the same data give the same name, so that the same command finds it."""

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path

from training.config import Config
from training.files.mirror import mirror_of
from training.frameworks import find_framework
from training.frameworks.specific.adapter import adaptation_settings


def shared_version(config: Config, table_version: int) -> str:
    """The name of theta^S: its framework, its backbone, and a hash of what decides its values.

    The number of epochs is left out, so that a run goes on where a shorter one stopped, and so are ranks and device.
    """
    framework, training = config.framework, config.training
    names = [re.sub(r"\W+", "_", name) for name in (framework.shared, config.model.name)]
    return f"{'-'.join(names)}-" + _digest(
        names=[framework.shared, config.model.name],
        seed=config.seed,
        samples=table_version,
        model=asdict(config.model),
        features={name: asdict(feature) for name, feature in config.data.features.items()},
        framework=[getattr(framework, key) for key in ("inner_lr", *find_framework(framework.shared).settings)],
        training=[training.batch_size, training.rounds_per_epoch, training.pack, training.patience],
        sharded=[sorted(training.sharded), training.cache_rows] if training.sharded else None,
        interleave=_specific_settings(config) if framework.interleave else None,
        **({"warm_start": True} if training.warm_start else {}),
    )


def specific_version(config: Config, shared: str, state: str) -> str:
    """The name of theta^S `shared` in one state with one set of theta^i; the `model_version` of domain_parameters."""
    return f"{shared}.{state}.{config.framework.specific}-{_digest(specific=_specific_settings(config))}"


def trained_state(best_epoch: int) -> str:
    """The state of a theta^S that was trained: which of its epochs it is."""
    return f"epoch-{best_epoch}"


def extended_state(version: str) -> str:
    """The state of a theta^S that was not trained on its tables, but taken from another model and filled up."""
    return f"grown-{_digest(version=version)}"


def model_path(config: Config, version: str) -> Path:
    return config.folder("models", version)


def fetch_model(config: Config, version: str) -> Path:
    """The same folder, after it was made what it is at a ROOT that is a URL."""
    folder = model_path(config, version)
    mirror_of(config.root, folder).pull()
    return folder


def _specific_settings(config: Config) -> list:
    framework = config.framework
    of_helpers = [framework.helpers, framework.helper_rows, framework.helper_domains]
    of_subspace = [framework.subspace_rank, framework.subspace_domains, framework.finetune_rounds]
    stored = [framework.specific_min_rows, framework.specific_dtype]
    return [asdict(adaptation_settings(config)), of_helpers, framework.stop_group, of_subspace, stored]


def _digest(**settings: object) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
