"""Roots: a folder, or a URL of object storage (s3://, s3a://, abfss://, gs://) with a copy at hand on this machine.

Delta reads and writes tables where they are. What is mapped into memory, files of samples and models, is copied into a
folder of this machine, which MAMDR_CACHE or else the folder for temporary files holds, and is worked on there. Who may
read and write a URL, and which server answers for it, the environment says (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...).
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import obstore

from training.files.object_store import download, exists, open_url
from training.files.paths import is_remote, local_path

if TYPE_CHECKING:
    from training.distributed.ranks import Ranks

MANIFEST, BLOBS = "manifest.json", "blobs"
TRIES = 3  # to read one state of a folder while others publish

Changes = tuple[dict[str, str], set[str]]  # digests of new files by name, and the names of those that are gone
NOTHING: Changes = ({}, set())


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
                download(f"{self._url}/{BLOBS}/{digest}", self.folder / name)
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
            if not exists(url):
                obstore.put(*open_url(url), self.folder / name)
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
        obstore.put(*open_url(f"{self._url}/{MANIFEST}"), json.dumps(after, indent=1).encode())
        for digest in set(before.values()) - set(after.values()):
            obstore.delete(*open_url(f"{self._url}/{BLOBS}/{digest}"))

    def _manifest(self) -> dict[str, str]:
        try:
            return json.loads(bytes(obstore.get(*open_url(f"{self._url}/{MANIFEST}")).bytes()))
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
