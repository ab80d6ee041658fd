"""Computes local paths of folders, and of the local copies of URLs."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import gettempdir
from urllib.parse import unquote


def is_remote(path: str) -> bool:
    """Returns whether `path` is a URL of object storage."""
    return "://" in path and not path.startswith("file://")


def local_path(path: str) -> Path:
    """Returns the local path of a file or folder; for a URL of object storage, that of its local copy.

    | path                |      | local path           |
    | /data/root          |  ->  | /data/root           |
    | file:///data/a%20b  |  ->  | /data/a b            |
    | s3://bucket/root    |  ->  | CACHE/s3/bucket/root |

    CACHE is MAMDR_CACHE if that is set, else the folder mamdr in the system's folder for temporary files.
    """
    if not is_remote(path):
        return Path(unquote(path.removeprefix("file://")) if path.startswith("file://") else path).absolute()
    scheme, _, rest = path.partition("://")
    return Path(os.environ.get("MAMDR_CACHE") or Path(gettempdir(), "mamdr"), scheme, unquote(rest)).absolute()
