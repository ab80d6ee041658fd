"""Keeps copies of folders in object storage. ROOT may be a local path or a URL (s3://, s3a://, abfss://, gs://).

Delta tables are read and written at the URL itself. Files that are memory-mapped, such as samples and models, are
copied to a local cache and used there (see `local_path`). The environment gives the credentials and the endpoint, for
instance AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL.
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

if TYPE_CHECKING:  # `training.distributed` is beside this folder, not below it
    from training.distributed.ranks import Ranks

MANIFEST, BLOBS = "manifest.json", "blobs"
TRIES = 3  # to read one state of a folder while others publish

Changes = tuple[dict[str, str], set[str]]  # digests of new files by name, and the names of removed files
NO_CHANGES: Changes = ({}, set())


@lru_cache
def mirror_of(root: str, folder: Path) -> Mirror:
    """Returns the mirror of a folder below ROOT, one object for each folder, so that digests are computed once."""
    return Mirror(root, folder)


class Mirror:
    """Keeps a local folder in sync with its copy in object storage. Does nothing if ROOT is a local path.

    The copy consists of blobs, each named by the SHA-256 of its content, and a manifest that maps file names to blobs.
    The manifest is replaced as a whole, so a reader sees one state of all files or the next.
    """

    def __init__(self, root: str, folder: Path) -> None:
        self.folder = folder
        self._url = f"{root.rstrip('/')}/{folder.relative_to(local_path(root))}" if is_remote(root) else None
        self._synced: dict[str, str] = {}  # digests of the files as last pulled or published
        self._digests: dict[tuple[str, int, int], str] = {}  # by name, time of change and size

    def pull(self) -> None:
        """Makes the local folder equal to the copy: downloads changed files and deletes files it does not have.

        Raises:
            RuntimeError: the content of a blob does not match its name.
        """
        if self._url is None:
            return
        for tries_left in reversed(range(TRIES)):
            try:
                return self._pull(self._manifest())
            except FileNotFoundError:  # another process has replaced the manifest meanwhile, or the blob is lost
                if not tries_left:
                    raise

    def _pull(self, manifest: dict[str, str]) -> None:
        local = self._digest_all()
        for name, digest in manifest.items():
            if local.get(name) != digest:
                url = f"{self._url}/{BLOBS}/{digest}"
                download(url, self.folder / name)
                if _digest(self.folder / name) != digest:
                    raise RuntimeError(f"{url} is damaged: its content does not match its name")
        for name in local.keys() - manifest.keys():
            (self.folder / name).unlink()
        self._synced = manifest

    def publish(self) -> None:
        """Makes the copy equal to the local folder."""
        if self._url is not None:
            self._merge([self._upload()])

    def pull_on(self, ranks: Ranks) -> None:
        """Pulls on every machine. All ranks must call it."""
        if self._url is not None:
            if ranks.local_rank == 0:
                self.pull()
            ranks.wait()

    def publish_on(self, ranks: Ranks) -> None:
        """Uploads each machine's new files, then writes one manifest for all of them. All ranks must call it."""
        if self._url is not None:
            changes = ranks.gather_objects("changes", self._upload() if ranks.local_rank == 0 else NO_CHANGES)
            if ranks.is_root:
                self._merge(changes)
            ranks.wait()

    def _upload(self) -> Changes:
        """Uploads the files that changed since the last sync, and returns the changes for the manifest."""
        local = self._digest_all()
        new = {name: digest for name, digest in local.items() if self._synced.get(name) != digest}
        removed = self._synced.keys() - local.keys()
        for name, digest in new.items():
            url = f"{self._url}/{BLOBS}/{digest}"
            if not exists(url):
                obstore.put(*open_url(url), self.folder / name)
        self._synced = local
        return new, removed

    def _merge(self, changes: list[Changes]) -> None:
        """Writes a manifest with the changes of all machines, and deletes the blobs that it no longer names."""
        before = self._manifest()
        after = {name: digest for name, digest in before.items() if not any(name in removed for _, removed in changes)}
        for new, _ in changes:
            after |= new
        if after == before:
            return
        obstore.put(*open_url(f"{self._url}/{MANIFEST}"), json.dumps(after, indent=1).encode())
        for digest in set(before.values()) - set(after.values()):
            obstore.delete(*open_url(f"{self._url}/{BLOBS}/{digest}"))

    def _manifest(self) -> dict[str, str]:
        """Returns the digest of each file of the copy, by name; empty if there is no copy yet."""
        try:
            return json.loads(bytes(obstore.get(*open_url(f"{self._url}/{MANIFEST}")).bytes()))
        except FileNotFoundError:
            return {}

    def _digest_all(self) -> dict[str, str]:
        """Returns the digest of each local file, by name. Only files that changed are read again."""
        digests = {}
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder)
            is_temporary = any(folder.startswith(".") for folder in name.parts)  # see `atomic_write`
            if path.is_file() and not is_temporary:
                status = path.stat()
                key = (str(name), status.st_mtime_ns, status.st_size)
                self._digests[key] = self._digests.get(key) or _digest(path)
                digests[str(name)] = self._digests[key]
        return digests


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
