"""Names a trained model and opens it inside a Spark task."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from training.artifacts.manifest import read_manifest, state_of
from training.artifacts.model_folder import fetch_model
from training.artifacts.model_names import model_path, shared_version, specific_version
from training.artifacts.model_store import load_theta
from training.config import Config
from training.data.schema import Schema
from training.parameters.shared import SharedParameters


@dataclass(frozen=True)
class ModelKey:
    """Holds what a task needs to open a trained model by itself.

    Attributes:
        table_version: the version of the samples that the model belongs to.
        state: the state of theta^S, for instance its best epoch; see training/artifacts/model_names.py.
        schema: the columns that the model reads.
    """

    config: Config
    table_version: int
    state: str
    schema: Schema

    @classmethod
    def find(cls, config: Config, table_version: int) -> "ModelKey":
        """Returns the key of the model trained with these settings. Raises UserError if there is no such model."""
        manifest = read_manifest(fetch_model(config, shared_version(config, table_version)))
        key = cls(config, table_version, state_of(manifest), Schema.from_json(manifest["schema"]))
        fetch_model(config, key.model_version)
        return key

    @property
    def shared_version(self) -> str:
        """Returns the name of theta^S, and of its folder."""
        return shared_version(self.config, self.table_version)

    @property
    def model_version(self) -> str:
        """Returns the name of theta^S in this state with its domain offsets, as in domain_parameters."""
        return specific_version(self.config, self.shared_version, self.state)


def latest_model_version(config: Config, shared: str) -> str:
    """Returns the `model_version` in domain_parameters that belongs to the current state of the model `shared`."""
    return specific_version(config, shared, state_of(read_manifest(fetch_model(config, shared))))


_opened: dict[tuple[Path, str], tuple[nn.Module, SharedParameters]] = {}


def open_theta(key: ModelKey) -> tuple[nn.Module, SharedParameters]:
    """Returns the module and theta^S of a model, and keeps them open for later tasks of this process.

    A model that has been trained further counts as another model.
    """
    name = (model_path(key.config, key.shared_version), key.state)
    if name not in _opened:
        _opened.clear()
        _opened[name] = load_theta(fetch_model(key.config, key.shared_version), key.config)
    return _opened[name]
