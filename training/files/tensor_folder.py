"""Saves and loads folders of tensors with a little state in JSON. Folders are written atomically.

Only the functions that read or write tensors import torch, since the listing of models reads the state alone.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from training.files.atomic_write import atomic_write

if TYPE_CHECKING:
    from torch import Tensor

TENSORS, STATE = "tensors.safetensors", "state.json"
CHECKPOINTS = 2  # that are retained


def save(folder: Path, tensors: dict[str, Tensor], state: dict, files: Mapping[str, Path] | None = None) -> None:
    """Writes `tensors` and `state` to `folder`, replacing it if it exists.

    Args:
        files: more files of the folder, by name; they are hard-linked, not copied.
    """
    from safetensors.torch import save_file

    with atomic_write(folder) as temporary:
        temporary.mkdir(parents=True)
        save_file({name: value.contiguous().cpu() for name, value in tensors.items()}, temporary / TENSORS)
        (temporary / STATE).write_text(json.dumps(state, indent=1))
        for name, file in (files or {}).items():
            os.link(file, temporary / name)


def load(folder: Path) -> tuple[dict[str, Tensor], dict]:
    """Returns the tensors of `folder`, memory-mapped, and its state."""
    from safetensors.torch import load_file

    return load_file(folder / TENSORS), json.loads((folder / STATE).read_text())


def save_epoch(folder: Path, epoch: int, tensors: dict[str, Tensor], state: dict) -> None:
    """Saves a checkpoint of `epoch` in `folder`, and deletes all but the last two checkpoints."""
    save(folder / f"epoch-{epoch:05d}", tensors, state)
    for old in _checkpoints(folder)[:-CHECKPOINTS]:
        shutil.rmtree(old)


def load_last(folder: Path) -> tuple[dict[str, Tensor], dict] | None:
    """Loads the newest readable checkpoint in `folder`. Returns None if there is none."""
    for path in reversed(_checkpoints(folder)):
        try:
            return load(path)
        except (OSError, ValueError, SafetensorError):
            continue
    return None


def read_states(folder: Path) -> list[dict]:
    """Returns the state of each readable checkpoint in `folder`, oldest first."""
    states = []
    for path in _checkpoints(folder):
        with suppress(OSError, ValueError):
            states.append(json.loads((path / STATE).read_text()))
    return states


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("epoch-*"))
