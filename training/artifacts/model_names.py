"""Computes the names of models: equal settings and data give equal names, so the same command finds its model."""

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path

from training.config import Config
from training.config.framework_settings import adaptation_settings, shared_settings
from training.config.training import IN_NO_NAME


def shared_version(config: Config, table_version: int) -> str:
    """Returns the name of theta^S: its framework, its backbone, and a hash of all settings that decide its values.

    The number of epochs and the device are left out, so a longer run resumes a shorter one anywhere.
    """
    framework, training = config.framework, asdict(config.training)
    training["sharded"] = sorted(training["sharded"])
    names = [re.sub(r"\W+", "_", name) for name in (framework.shared, config.model.name)]
    if not config.training.sharded:
        del training["cache_rows"]  # it bounds the cache of sharded tables
    return f"{'-'.join(names)}-" + _digest(
        shared=framework.shared,
        seed=config.seed,
        samples=table_version,
        model=asdict(config.model),
        features={name: asdict(feature) for name, feature in config.data.features.items()},
        framework=shared_settings(config).values(),
        training={key: value for key, value in training.items() if key not in IN_NO_NAME},
        interleave=adaptation_settings(config).values() if framework.interleave else None,
    )


def specific_version(config: Config, shared: str, state: str) -> str:
    """Returns the name of theta^S `shared` in one state with one set of theta^i, as in domain_parameters."""
    specific = config.framework.specific
    return f"{shared}.{state}.{specific}-{_digest(specific=specific, framework=adaptation_settings(config).values())}"


def extended_state(version: str) -> str:
    """Returns the state of a theta^S that was taken from the model `version` and extended by rows for new ids."""
    return f"grown-{_digest(version=version)}"


def model_path(config: Config, version: str) -> Path:
    """Returns the folder of a model on this machine."""
    return config.folder("models", version)


def _digest(**settings: object) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
