"""Files that a reader sees whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Where to write what shall stand at `path`: it goes there when the block ends, and away if the block fails.

    Several processes may write one path at once: each has a place of its own, and what the last one wrote stays.
    """
    aside = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
