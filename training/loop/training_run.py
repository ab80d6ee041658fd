"""Defines the values that the stages of training pass on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import nn

    from training.config import Config
    from training.data.snapshot import Snapshot
    from training.distributed.ranks import Ranks
    from training.files.mirror import Mirror
    from training.parameters.shared import SharedParameters
    from training.tracking import Tracker


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Holds the ranks of a run, their common settings and the table versions that all of them read."""

    config: Config
    snapshot: Snapshot
    ranks: Ranks


@dataclass(frozen=True, kw_only=True)
class TrainingRun(Workers):
    """Holds a model that is ready to train, and the places where its results go.

    Attributes:
        model: the backbone, on the device that trains it.
        theta: the parameters of `model`. Both share their memory, so training `theta` trains `model`.
        folder: the folder of the model. Its name is the model's name.
        mirror: the copy of `folder` in object storage.
        vector_files: for each vocabulary with frozen vectors, the file that holds them.
        started_from: the name of the model that this one starts from, or None if its first values are random.
        tracker: the MLflow run on rank 0. The trackers of other ranks log nothing.
        after_epoch: called when an epoch is on disk. It may raise an exception to interrupt the run.
    """

    model: nn.Module
    theta: SharedParameters
    folder: Path
    mirror: Mirror
    vector_files: Mapping[str, Path]
    started_from: str | None
    tracker: Tracker
    after_epoch: Callable[[], None]
