"""Names of models: the same settings and the same data give the same name, so that the same command finds it."""

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path

from training.adapt import specific_settings
from training.config import Config, FrameworkConfig
from training.frameworks import SHARED


def shared_version(config: Config, table_version: int) -> str:
    """The name of theta^S: its framework, its backbone, and a hash of what decides its values.

    The number of epochs is left out, so that a run goes on where a shorter one stopped, and so are ranks and device.
    """
    framework, training = config.framework, config.training
    backbone = re.sub(r"\W+", "_", config.model.name)
    return f"{framework.shared}-{backbone}-" + _digest(
        seed=config.seed,
        samples=table_version,
        model=asdict(config.model),
        features={name: asdict(feature) for name, feature in config.data.features.items()},
        framework=[framework.inner_lr, *_own_settings(framework)],
        training=[training.batch_size, training.rounds_per_epoch, training.pack, training.patience],
        interleave=_specific_settings(config) if framework.interleave else None,
    )


def specific_version(config: Config, table_version: int, best_epoch: int) -> str:
    """The name of theta^S of one epoch with one set of theta^i; the `model_version` of domain_parameters."""
    shared = shared_version(config, table_version)
    return f"{shared}.epoch-{best_epoch}.{config.framework.specific}-{_digest(specific=_specific_settings(config))}"


def model_path(config: Config, version: str) -> Path:
    return Path(config.root, "models", version).absolute()


def _own_settings(framework: FrameworkConfig) -> list:
    """What the framework for theta^S reads beside the inner rate."""
    return [getattr(framework, key) for key in SHARED[framework.shared].settings] if framework.shared in SHARED else []


def _specific_settings(config: Config) -> list:
    framework = config.framework
    of_helpers = [framework.helpers, framework.helper_rows, framework.helper_domains]
    return [asdict(specific_settings(config)), of_helpers, framework.stop_group]


def _digest(**settings: object) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
