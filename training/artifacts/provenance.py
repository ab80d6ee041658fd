"""What a model or a figure was made by: the commit of this repository, and the versions of libraries."""

import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("torch", "horovod", "numpy", "petastorm", "deltalake")


def made_now() -> dict:
    """When (UTC), by which commit and with which libraries, as a manifest has it."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": repository_commit(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def repository_commit() -> str | None:
    """The checked-out commit, with -dirty behind it where files differ from it; None outside a clone."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    except OSError:  # there is no git
        return None
    return done.stdout.strip() or None
