"""Updates the local folder of a model from its copy at a ROOT that is a URL."""

from pathlib import Path

from training.artifacts.model_names import model_path
from training.config import Config
from training.files.mirror import mirror_of


def fetch_model(config: Config, version: str) -> Path:
    """Returns the folder of a model, which it first updates if ROOT is a URL."""
    folder = model_path(config, version)
    mirror_of(config.root, folder).pull()
    return folder
