"""Holds the settings: typed dataclasses, filled from a YAML file and dotted key=value arguments.

The names here are the names in YAML files and on the command line. A job gets its configuration by

    config = parse_arguments(["--config", "conf/ml_latest_small.yaml", "training.epochs=3"])
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from training.config.data import ChecksConfig, ColumnsConfig, DataConfig, FeatureConfig, SyntheticConfig, seconds_of
from training.config.frameworks import FrameworkConfig, framework_name, framework_pair, shared_framework
from training.config.jobs import ALSConfig, PromoteConfig, ScoreConfig, ServeConfig
from training.config.loading import flatten, merge_settings, read_settings, split_arguments, to_dataclass
from training.config.model import ModelConfig
from training.config.rules import require
from training.config.training import TrainingConfig
from training.errors import UserError
from training.files.paths import local_path
from training.redaction import holds_secret

__all__ = [
    "ALSConfig",
    "ChecksConfig",
    "ColumnsConfig",
    "Config",
    "DataConfig",
    "FeatureConfig",
    "FrameworkConfig",
    "ModelConfig",
    "PromoteConfig",
    "ScoreConfig",
    "ServeConfig",
    "SyntheticConfig",
    "TrainingConfig",
    "flatten",
    "load_config",
    "parse_arguments",
    "read_settings",
    "restore_config",
    "seconds_of",
    "split_arguments",
]

DERIVED = ("name", "shared", "specific", "inner_lr", "outer_lr", "dr_batch_size", "finetune_lr")  # of framework


@dataclass
class Config:
    """Holds all settings of a run."""

    root: str = MISSING  # tables are in ROOT/tables, models in ROOT/models
    seed: int = 0
    track: bool = True  # in MLflow, see training/tracking.py
    data: DataConfig = field(default_factory=DataConfig)
    checks: ChecksConfig = field(default_factory=ChecksConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    als: ALSConfig = field(default_factory=ALSConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
    promote: PromoteConfig = field(default_factory=PromoteConfig)
    serve: ServeConfig = field(default_factory=ServeConfig)
    framework: FrameworkConfig = field(default_factory=FrameworkConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def table(self, name: str) -> str:
        """Returns the path or URL of a Delta table below ROOT."""
        root = self.root if "://" in self.root else str(self.folder())
        return f"{root.rstrip('/')}/tables/{name}"

    def folder(self, *names: str) -> Path:
        """Returns a path below ROOT on this machine, or below its local copy if ROOT is a URL."""
        return local_path(self.root).joinpath(*names)

    def check(self) -> None:
        """Raises UserError if a section holds a value out of range, or sections contradict each other."""
        require(0 <= self.seed < 2**63, "seed", "an integer from 0 to 9223372036854775807")
        for section in (self.data, self.checks, self.model, self.als, self.score, self.promote, self.serve):
            section.check()
        self.training.check()
        self.framework.check()  # last: it derives values from others
        interleaves_shards = self.framework.interleave and self.training.sharded
        require(not interleaves_shards, "framework.interleave", "false with training.sharded")


def parse_arguments(arguments: Sequence[str]) -> Config:
    """Reads `--config FILE key=value ...` into a checked Config. Raises UserError."""
    return load_config(*split_arguments(arguments))


def load_config(path: str, settings: Sequence[str] = ()) -> Config:
    """Merges defaults, the YAML file at `path` and dotted `settings`, and checks the result.

    Raises:
        UserError: as `read_settings`, or a value is out of range or holds a password.
    """
    merged = merge_settings(Config, path, settings)
    _derive(merged)
    config = to_dataclass(merged, path)
    for key, value in flatten(asdict(config)).items():
        if holds_secret(str(value)):
            raise UserError(
                f'config key "{key}" holds a password or token, which logs, models and reports would show: leave '
                "it out, and give it by the environment or Spark's settings"
            )
    config.check()
    return config


def restore_config(values: Mapping[str, Any], root: str) -> Config:
    """Returns the config that was stored as `values` (by asdict), for tables and models below `root`.

    Raises:
        UserError: it has keys that this version does not know.
    """
    framework = {key: value for key, value in values["framework"].items() if value is not None or key not in DERIVED}
    try:
        stored: dict[Any, Any] = {**values, "framework": framework, "root": root}
        merged = OmegaConf.merge(OmegaConf.structured(Config), stored)
        assert isinstance(merged, DictConfig)
        _derive(merged)
        return to_dataclass(merged, "the stored settings")
    except OmegaConfBaseException as error:
        raise UserError(f"stored settings cannot be read: {str(error).splitlines()[0]}") from None


def _derive(config: DictConfig) -> None:
    """Fills the settings that follow from others: the pair of frameworks, its name, and rates.

    `framework.shared` and `framework.specific` win over `framework.name`, which then follows from them.
    """
    framework = config.framework
    shared, specific = framework_pair(framework.get("name", "mamdr"))
    _default(framework, shared=shared, specific=specific)
    framework.name = framework_name(framework.shared, framework.specific)
    listed = shared_framework(framework.shared)
    _default(framework, inner_lr=listed.inner_lr, outer_lr=listed.outer_lr)
    _default(framework, finetune_lr=framework.dr_inner_lr, dr_batch_size=config.training.batch_size)


def _default(section: DictConfig, **values: Any) -> None:
    """Sets the keys of `section` that have no value yet."""
    for key, value in values.items():
        if OmegaConf.is_missing(section, key):
            section[key] = value
