"""Records what a model or a figure was made with: the commit of this repository and the versions of libraries."""

import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("torch", "horovod", "numpy", "petastorm", "deltalake")


def made_now() -> dict:
    """Returns the time (UTC), the commit and the versions of libraries, for a manifest."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": repository_commit(),
        "libraries": _installed_versions(),
    }


def repository_commit() -> str | None:
    """Returns the checked-out commit, with the suffix -dirty if files differ from it. Returns None outside a clone."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    except OSError:  # git is not installed
        return None
    return done.stdout.strip() or None


def _installed_versions() -> dict[str, str]:
    """Returns the version of each library, without those that are not installed here."""
    versions = {}
    for library in LIBRARIES:
        with suppress(PackageNotFoundError):
            versions[library] = version(library)
    return versions
