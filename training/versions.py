"""Names of models: the same settings and the same data give the same name, so that the same command finds it."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from training.config import Config


def shared_version(config: Config, table_version: int) -> str:
    """The name of theta^S: its framework, its backbone, and a hash of what decides its values.

    The number of epochs is left out, so that a run goes on where a shorter one stopped, and so are ranks and device.
    """
    framework, training = config.framework, config.training
    return f"{framework.shared}-{config.model.name}-" + _digest(
        seed=config.seed,
        samples=table_version,
        model=asdict(config.model),
        rates=[framework.inner_lr, framework.outer_lr if framework.shared == "dn" else None],
        training=[training.batch_size, training.rounds_per_epoch, training.pack, training.patience],
        interleave=_dr_settings(config) if framework.interleave else None,
    )


def specific_version(config: Config, table_version: int, best_epoch: int) -> str:
    """The name of theta^S of one epoch with one set of theta^i; the `model_version` of domain_parameters."""
    shared = shared_version(config, table_version)
    return f"{shared}.epoch-{best_epoch}.dr-{_digest(dr=_dr_settings(config))}"


def model_path(config: Config, version: str) -> Path:
    return Path(config.root, "models", version).absolute()


def _dr_settings(config: Config) -> list:
    framework = config.framework
    return [
        framework.inner_lr,
        framework.dr_inner_lr,
        framework.dr_lr,
        framework.dr_rounds,
        framework.dr_batch_size or config.training.batch_size,
        framework.helpers,
        framework.helper_rows,
        framework.helper_domains,
        framework.stop_group,
    ]


def _digest(**settings: object) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
