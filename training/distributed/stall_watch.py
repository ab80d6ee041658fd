"""Detects a stalled collective operation, names the ranks that are missing, and ends the run.

Horovod's stall check does not notice a rank that never reaches a collective. Here each rank reports its activity to the
key-value store of the launcher, so that the others can say what a missing rank was last doing.
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
INTERVAL = 5.0  # seconds between two checks
SCOPE = "activities"  # of the keys in the key-value store


class StallWatch:
    """Detects a stalled collective on this rank and ends the run.

    Attributes:
        activity: what the rank is doing, in words.
        newest: the only watch that checks. An elastic run creates several in one process, one after another.
    """

    newest: ClassVar["StallWatch | None"] = None

    def __init__(self, rank: int, size: int) -> None:
        self.activity = "the start"
        self._rank, self._size = rank, size
        self._waiting: tuple[str, float] | None = None  # the current collective, and when it began
        self._limit = float(os.environ.get(LIMIT, DEFAULT_LIMIT))
        StallWatch.newest = self
        if size > 1 and self._limit > 0:  # as for Horovod, 0 means no limit
            threading.Thread(target=self._check_repeatedly, daemon=True, name="watch").start()

    @contextmanager
    def waiting(self, collective: str) -> Iterator[None]:
        """Limits the time that the block, a collective, may take."""
        self._waiting = collective, time.monotonic()
        try:
            yield
        finally:
            self._waiting = None

    def _check_repeatedly(self) -> None:
        while StallWatch.newest is self:
            waiting = self._waiting
            _put(self._rank, {"activity": self.activity, "collective": waiting and waiting[0]})
            # Reporting takes time: the rank may be in another collective by now.
            if waiting and waiting is self._waiting and time.monotonic() - waiting[1] > self._limit:
                self._end_run(waiting[0])
            time.sleep(min(INTERVAL, self._limit / 4))

    def _end_run(self, collective: str) -> None:
        reports = {rank: _get(rank) for rank in range(self._size) if rank != self._rank}
        missing = [
            f"rank {rank} (last seen in {report['activity']})"
            for rank, report in reports.items()
            if report["collective"] != collective
        ]
        print(
            f"error: rank {self._rank}, in {self.activity}, has waited {self._limit:.0f} s in the collective "
            f'"{collective}" for {", ".join(missing) or "the other ranks"}; the run ends. Run the same command again '
            f"to resume from the last checkpoint; set {LIMIT} if ranks may be that slow.",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)  # the main thread is inside Horovod and cannot be interrupted


def _put(rank: int, report: dict) -> None:
    _request(Request(_url(rank), json.dumps(report).encode(), method="PUT"))


def _get(rank: int) -> dict:
    return json.loads(_request(Request(_url(rank))) or '{"activity": "an unknown activity", "collective": null}')


def _request(request: Request) -> bytes:
    """Returns the answer of the key-value store; empty if there is no store or no answer."""
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=INTERVAL) as response:
            return response.read()
    except OSError:
        return b""


def _url(rank: int) -> str:
    address, port = (os.environ.get(f"HOROVOD_GLOO_RENDEZVOUS_{name}", "") for name in ("ADDR", "PORT"))
    return f"http://{address}:{port or 1}/{SCOPE}/{rank}"
