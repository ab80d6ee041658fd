"""Names a trained model and opens it inside a Spark task."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from training.artifacts.model_folder import fetch_model
from training.artifacts.model_names import model_path, shared_version, specific_version
from training.artifacts.model_store import load_theta, read_manifest, state_of
from training.config import Config
from training.data.schema import Schema
from training.parameters.shared import SharedParameters


@dataclass(frozen=True)
class ModelKey:
    """What a task needs to open a model by itself."""

    config: Config
    table_version: int
    state: str  # of theta^S, see training/artifacts/model_names.py
    schema: Schema

    @classmethod
    def find(cls, config: Config, table_version: int) -> "ModelKey":
        """The trained model of these settings. Raises UserError if there is none."""
        manifest = read_manifest(fetch_model(config, shared_version(config, table_version)))
        key = cls(config, table_version, state_of(manifest), Schema.from_json(manifest["schema"]))
        fetch_model(config, key.model_version)
        return key

    @property
    def shared_version(self) -> str:
        return shared_version(self.config, self.table_version)

    @property
    def model_version(self) -> str:
        return specific_version(self.config, self.shared_version, self.state)


def latest_model_version(config: Config, shared: str) -> str:
    """The name of model `shared`, as it is now, with its theta^i."""
    return specific_version(config, shared, state_of(read_manifest(fetch_model(config, shared))))


_open: dict[tuple[Path, str], tuple[nn.Module, SharedParameters]] = {}


def open_theta(key: ModelKey) -> tuple[nn.Module, SharedParameters]:
    """The module and theta^S of a model, opened once in a Python process; a run that went on is another model."""
    name = (model_path(key.config, key.shared_version), key.state)
    if name not in _open:
        _open.clear()
        _open[name] = load_theta(fetch_model(key.config, key.shared_version), key.config)
    return _open[name]
