"""Shows the progress of long work: a bar on a terminal, a line every half minute elsewhere.

Logs and launchers such as horovodrun cannot redraw a bar, so they get whole lines and never carriage returns.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

SECONDS_PER_LINE = 30.0


class ProgressBar:
    """Counts the finished units of some work and shows them on stderr.

    A terminal gets a bar. Any other stderr gets a line when 30 seconds have passed since the last one, so short work
    prints nothing.

    Args:
        description: what is being done, shown in front of the count.
        total: the number of units, or None if it is unknown.
        unit: the name of a unit, in the plural.
        silent: shows nothing. Ranks other than 0 are silent.
    """

    def __init__(
        self, description: str = "", total: int | None = None, unit: str = "steps", silent: bool = False
    ) -> None:
        self._unit, self._silent = unit, silent
        self._bar: tqdm | None = None
        if sys.stderr.isatty() and not silent:
            self._bar = tqdm(unit=f" {unit}", file=sys.stderr, leave=False)
        self.restart(description, total)

    def restart(self, description: str, total: int | None = None) -> None:
        """Starts again from zero, for the next stretch of work."""
        self._description, self._total, self._done = description, total, 0
        self._start = self._last_line = time.monotonic()
        if self._bar is not None:
            self._bar.unit_scale = total is not None and total >= 10_000  # 45.0k instead of 45000
            self._bar.reset(total)
            self._bar.set_description(description)

    def update(self, count: int = 1) -> None:
        """Adds `count` finished units."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif not self._silent and time.monotonic() - self._last_line >= SECONDS_PER_LINE:
            self._last_line = time.monotonic()
            self.print(self._line())

    def print(self, line: str) -> None:
        """Prints a whole line, above the bar if there is one. A silent bar prints nothing."""
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        elif not self._silent:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.close()

    def _line(self) -> str:
        total = "" if self._total is None else f" of {self._total:,}"
        return f"{self._description}: {self._done:,}{total} {self._unit} after {time.monotonic() - self._start:.0f} s"


def with_progress(
    items: Iterable[T], description: str, unit: str = "steps", total: int | None = None, silent: bool = False
) -> Iterator[T]:
    """Yields `items` and shows how many of them are done.

    Args:
        total: the number of items; by default their length, if they have one.
        description, unit, silent: see ProgressBar.

    >>> list(with_progress([1, 2, 3], "squares", unit="numbers"))
    [1, 2, 3]
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    bar = ProgressBar(description, total, unit, silent)
    try:
        for item in items:
            yield item
            bar.update()
    finally:
        bar.close()
