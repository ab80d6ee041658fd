"""Object storage: single files, by URL."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import obstore
from obstore.store import ObjectStore, from_url

from training.files.atomic_write import atomic_write
from training.files.paths import is_remote, local_path

CHUNK = 1 << 24


def missing(paths: list[str]) -> list[str]:
    """Those of the files, folders or URLs that are not there."""
    return [path for path in paths if not (exists(path) if is_remote(path) else local_path(path).exists())]


def fetch(path: str) -> Path:
    """The file at `path`, which never changes, on this machine: copied if need be."""
    target = local_path(path)
    if is_remote(path) and not target.exists():
        download(path, target)
    return target


@lru_cache
def _store(bucket: str) -> ObjectStore:
    return from_url(bucket)


def open_url(url: str) -> tuple[ObjectStore, str]:
    """The bucket of a URL, and the path in it."""
    scheme, _, rest = url.partition("://")
    bucket, _, path = rest.partition("/")
    return _store(f"{scheme}://{bucket}"), path


def exists(url: str) -> bool:
    try:
        obstore.head(*open_url(url))
    except FileNotFoundError:
        return False
    return True


def download(url: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as aside, aside.open("wb") as file:
        for part in obstore.get(*open_url(url)).stream(min_chunk_size=CHUNK):
            file.write(part)
