"""Tensors and a little state on disk: written aside, then renamed, so that a reader sees all of it or nothing."""

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.files.atomic_write import atomic_write

TENSORS, STATE = "tensors.safetensors", "state.json"
KEEP = 2


def save(folder: Path, tensors: dict[str, Tensor], state: dict, files: Mapping[str, Path] | None = None) -> None:
    """Makes `folder` with `tensors`, `state` and links to `files` (by name) in it, replacing one that is there."""
    with atomic_write(folder) as aside:
        aside.mkdir(parents=True)
        save_file({name: value.contiguous().cpu() for name, value in tensors.items()}, aside / TENSORS)
        (aside / STATE).write_text(json.dumps(state, indent=1))
        for name, file in (files or {}).items():
            os.link(file, aside / name)


def load(folder: Path) -> tuple[dict[str, Tensor], dict]:
    """The tensors (memory-mapped) and the state in `folder`."""
    return load_file(folder / TENSORS), json.loads((folder / STATE).read_text())


def save_epoch(folder: Path, epoch: int, tensors: dict[str, Tensor], state: dict) -> None:
    """Saves the checkpoint of an epoch in `folder` and drops all but the last two."""
    save(folder / f"epoch-{epoch:05d}", tensors, state)
    for old in _epochs(folder)[:-KEEP]:
        shutil.rmtree(old)


def load_last(folder: Path) -> tuple[dict[str, Tensor], dict] | None:
    """The newest checkpoint in `folder` that can be read; None if there is none."""
    for path in reversed(_epochs(folder)):
        try:
            return load(path)
        except (OSError, ValueError, SafetensorError):
            continue
    return None


def read_states(folder: Path) -> list[dict]:
    """The state of each checkpoint in `folder` that can be read, oldest first."""
    states = []
    for path in _epochs(folder):
        with suppress(OSError, ValueError):
            states.append(json.loads((path / STATE).read_text()))
    return states


def _epochs(folder: Path) -> list[Path]:
    return sorted(folder.glob("epoch-*"))
