"""Roots: a folder, or a URL of object storage (s3://, s3a://, abfss://, gs://) with a copy at hand on this machine.

Delta reads and writes tables where they are. What is mapped into memory, files of samples and models, is copied into a
folder of this machine, which MAMDR_CACHE or else the folder for temporary files holds, and is worked on there. Who may
read and write a URL, and which server answers for it, the environment says (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...).
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING
from urllib.parse import unquote

import obstore
from obstore.store import ObjectStore, from_url

from training.files.atomic_write import written_aside

if TYPE_CHECKING:
    from training.distributed.ranks import Ranks

MANIFEST, BLOBS = "manifest.json", "blobs"
CHUNK = 1 << 24
TRIES = 3  # to read one state of a folder while others publish

Changes = tuple[dict[str, str], set[str]]  # digests of new files by name, and the names of those that are gone
NOTHING: Changes = ({}, set())


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


def missing(paths: list[str]) -> list[str]:
    """Those of the files, folders or URLs that are not there."""
    return [path for path in paths if not (_exists(path) if is_remote(path) else local_path(path).exists())]


def fetch(path: str) -> Path:
    """The file at `path`, which never changes, on this machine: copied if need be."""
    target = local_path(path)
    if is_remote(path) and not target.exists():
        _copy(path, target)
    return target


@lru_cache
def mirror_of(root: str, folder: Path) -> Mirror:
    """That of a folder below ROOT; it remembers what it knows of the files while this process lives."""
    return Mirror(root, folder)


class Mirror:
    """A folder below ROOT of this machine, as it also lies at ROOT's URL; a ROOT that is a folder needs nothing.

    At the URL is a manifest, which names the files and what each holds, and what they hold by its SHA-256. So a reader
    sees one state of all files, or the next.
    """

    def __init__(self, root: str, folder: Path) -> None:
        self.folder = folder
        self._url = f"{root.rstrip('/')}/{folder.relative_to(local_path(root))}" if is_remote(root) else None
        self._seen: dict[str, str] = {}  # the files that are here as they are at the URL
        self._digests: dict[tuple[str, int, int], str] = {}

    def pull(self) -> None:
        """Makes the folder what it is at the URL. Raises RuntimeError if a file there is not what the manifest says."""
        if self._url is None:
            return
        for left in reversed(range(TRIES)):
            try:
                return self._pull(self._manifest())
            except FileNotFoundError:  # there is a newer manifest by now, or it is lost
                if not left:
                    raise

    def _pull(self, wanted: dict[str, str]) -> None:
        here = self._digest_all()
        for name, digest in wanted.items():
            if here.get(name) != digest:
                _copy(f"{self._url}/{BLOBS}/{digest}", self.folder / name)
                if _digest(self.folder / name) != digest:
                    raise RuntimeError(f"{self._url}/{BLOBS}/{digest} is not what its name says")
        for name in here.keys() - wanted.keys():
            (self.folder / name).unlink()
        self._seen = wanted

    def publish(self) -> None:
        """Lets readers of the URL see what is here."""
        if self._url is not None:
            self._merge([self._upload()])

    def pull_on(self, ranks: Ranks) -> None:
        """Pulls on every machine. Every rank must call it."""
        if self._url is not None:
            if ranks.local_rank == 0:
                self.pull()
            ranks.wait()

    def publish_on(self, ranks: Ranks) -> None:
        """Publishes what the machines have together, each its own files. Every rank must call it."""
        if self._url is not None:
            changes = ranks.gather_objects("changes", self._upload() if ranks.local_rank == 0 else NOTHING)
            if ranks.is_root:
                self._merge(changes)
            ranks.wait()

    def _upload(self) -> Changes:
        """Brings what is new here to the URL, and returns it, by name, and the names that are gone."""
        here = self._digest_all()
        new = {name: digest for name, digest in here.items() if self._seen.get(name) != digest}
        gone = self._seen.keys() - here.keys()
        for name, digest in new.items():
            url = f"{self._url}/{BLOBS}/{digest}"
            if not _exists(url):
                obstore.put(*_open(url), self.folder / name)
        self._seen = here
        return new, gone

    def _merge(self, changes: list[Changes]) -> None:
        """Writes the manifest that has what machines have uploaded."""
        before = self._manifest()
        after = {name: digest for name, digest in before.items() if not any(name in gone for _, gone in changes)}
        for new, _ in changes:
            after |= new
        if after == before:
            return
        obstore.put(*_open(f"{self._url}/{MANIFEST}"), json.dumps(after, indent=1).encode())
        for digest in set(before.values()) - set(after.values()):
            obstore.delete(*_open(f"{self._url}/{BLOBS}/{digest}"))

    def _manifest(self) -> dict[str, str]:
        try:
            return json.loads(bytes(obstore.get(*_open(f"{self._url}/{MANIFEST}")).bytes()))
        except FileNotFoundError:
            return {}

    def _digest_all(self) -> dict[str, str]:
        found = {}
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder)
            if path.is_file() and not any(part.startswith(".") for part in name.parts):  # those are being written
                status = path.stat()
                key = (str(name), status.st_mtime_ns, status.st_size)
                self._digests[key] = self._digests.get(key) or _digest(path)
                found[str(name)] = self._digests[key]
        return found


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache
def _store(bucket: str) -> ObjectStore:
    return from_url(bucket)


def _open(url: str) -> tuple[ObjectStore, str]:
    """The bucket of a URL, and the path in it."""
    scheme, _, rest = url.partition("://")
    bucket, _, path = rest.partition("/")
    return _store(f"{scheme}://{bucket}"), path


def _exists(url: str) -> bool:
    try:
        obstore.head(*_open(url))
    except FileNotFoundError:
        return False
    return True


def _copy(url: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(target) as aside, aside.open("wb") as file:
        for part in obstore.get(*_open(url)).stream(min_chunk_size=CHUNK):
            file.write(part)
