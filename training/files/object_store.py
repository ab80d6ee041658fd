"""Reads single files of object storage by URL (s3://, s3a://, abfss://, gs://)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import obstore
from obstore.store import ObjectStore, from_url

from training.files.atomic_write import atomic_write
from training.files.paths import is_remote, local_path

CHUNK = 1 << 24  # bytes of a download that are in memory at once


def find_missing(paths: Sequence[str]) -> list[str]:
    """Returns those of the files, folders or URLs that do not exist."""
    return [path for path in paths if not (exists(path) if is_remote(path) else local_path(path).exists())]


def fetch(path: str) -> Path:
    """Returns the local path of a file, downloading it first if it is remote and not cached.

    A cached copy is never refreshed, so the file must be one that never changes.
    """
    target = local_path(path)
    if is_remote(path) and not target.exists():
        download(path, target)
    return target


@lru_cache
def _store(bucket: str) -> ObjectStore:
    return from_url(bucket)


def open_url(url: str) -> tuple[ObjectStore, str]:
    """Returns the bucket of a URL, opened, and the path inside it."""
    scheme, _, rest = url.partition("://")
    bucket, _, path = rest.partition("/")
    return _store(f"{scheme}://{bucket}"), path


def exists(url: str) -> bool:
    """Returns whether there is an object at `url`."""
    try:
        obstore.head(*open_url(url))
    except FileNotFoundError:
        return False
    return True


def download(url: str, target: Path) -> None:
    """Copies the object at `url` to `target`, atomically."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as temporary, temporary.open("wb") as file:
        for chunk in obstore.get(*open_url(url)).stream(min_chunk_size=CHUNK):
            file.write(chunk)
