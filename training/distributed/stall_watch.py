"""Whether all ranks come to a collective: one that has waited too long says for whom, and ends the run.

Horovod's own check of stalls does not see a rank that never comes. Ranks tell the launcher's key-value store where they
are, so that the others can say where one was last seen.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar
from urllib.request import ProxyHandler, Request, build_opener

LIMIT = "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS"
DEFAULT_LIMIT = 1800
INTERVAL = 5.0  # seconds between two looks
SCOPE = "places"


class StallWatch:
    """Of one rank.

    Attributes:
        place: what the rank is doing, in words.
        newest: the one that looks; a process may be several ranks, one after the other.
    """

    newest: ClassVar["StallWatch | None"] = None

    def __init__(self, rank: int, size: int) -> None:
        self.place = "the start"
        self._rank, self._size = rank, size
        self._waits: tuple[str, float] | None = None  # the collective that the rank is in, and since when
        self._limit = float(os.environ.get(LIMIT, DEFAULT_LIMIT))
        StallWatch.newest = self
        if size > 1 and self._limit > 0:  # 0 is Horovod's word for never
            threading.Thread(target=self._look, daemon=True, name="watch").start()

    @contextmanager
    def waiting(self, collective: str) -> Iterator[None]:
        """Watches over the block, a collective."""
        self._waits = collective, time.monotonic()
        try:
            yield
        finally:
            self._waits = None

    def _look(self) -> None:
        while StallWatch.newest is self:
            waits = self._waits
            _put(self._rank, {"place": self.place, "waits": waits and waits[0]})
            if waits and waits is self._waits and time.monotonic() - waits[1] > self._limit:
                self._end(waits[0])
            time.sleep(min(INTERVAL, self._limit / 4))

    def _end(self, collective: str) -> None:
        others = {rank: _get(rank) for rank in range(self._size) if rank != self._rank}
        missing = [
            f"rank {rank}, last seen in {found['place']}"
            for rank, found in others.items()
            if found["waits"] != collective
        ]
        print(
            f"error: rank {self._rank}, in {self.place}, has waited {self._limit:.0f} s for "
            f"{'; '.join(missing) or 'the others'}, to come to {collective}: the run ends, and the same command goes "
            f"on after the last checkpoint. Where ranks may be that slow, set {LIMIT}.",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)  # the main thread is in Horovod and cannot be interrupted


def _put(rank: int, value: dict) -> None:
    _ask(Request(_url(rank), json.dumps(value).encode(), method="PUT"))


def _get(rank: int) -> dict:
    return json.loads(_ask(Request(_url(rank))) or '{"place": "an unknown place", "waits": null}')


def _ask(request: Request) -> bytes:
    """What the launcher answers; nothing where there is none."""
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=INTERVAL) as answer:
            return answer.read()
    except OSError:
        return b""


def _url(rank: int) -> str:
    address, port = (os.environ.get(f"HOROVOD_GLOO_RENDEZVOUS_{name}", "") for name in ("ADDR", "PORT"))
    return f"http://{address}:{port or 1}/{SCOPE}/{rank}"
