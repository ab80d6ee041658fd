"""Local paths of folders and of the local copies of URLs."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import gettempdir
from urllib.parse import unquote


def is_remote(path: str) -> bool:
    return "://" in path and not path.startswith("file://")


def local_path(path: str) -> Path:
    """Where a folder or file, or the copy of one at a URL, lies on this machine.

    | /data/root          ->  /data/root
    | file:///data/a%20b  ->  /data/a b
    | s3://bucket/root    ->  CACHE/s3/bucket/root
    """
    if not is_remote(path):
        return Path(unquote(path.removeprefix("file://")) if path.startswith("file://") else path).absolute()
    scheme, _, rest = path.partition("://")
    return Path(os.environ.get("MAMDR_CACHE") or Path(gettempdir(), "mamdr"), scheme, unquote(rest)).absolute()
