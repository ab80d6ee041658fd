"""Files and folders that a reader sees whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Where to write the file or folder that shall stand at `path`: it goes there when the block ends, unless it fails.

    Several processes may write one file at once: each has a place of its own, and what the last one wrote stays.
    """
    aside = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        yield aside
        if aside.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        aside.replace(path)
    finally:
        if aside.is_dir():
            shutil.rmtree(aside)
        aside.unlink(missing_ok=True)
