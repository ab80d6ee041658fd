"""Progress of long work, on a terminal and in a log."""

import io
import sys

import pytest

from training import progress
from training.progress import ProgressBar, with_progress


class Stderr(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.fixture
def stderr_of(monkeypatch):
    def replace(terminal):
        stream = Stderr(terminal)
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return replace


def test_log_gets_a_line_every_30_seconds(stderr_of, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    log = stderr_of(terminal=False)
    bar = ProgressBar("epoch 1", total=9000, unit="samples")
    for _ in range(9):
        clock[0] += 10
        bar.update(1000)
    bar.print("epoch 1: done")
    bar.restart("epoch 2")
    clock[0] += 29
    bar.update(5)
    clock[0] += 1
    bar.update(5)
    bar.close()
    assert log.getvalue().splitlines() == [
        "epoch 1: 3,000 of 9,000 samples after 30 s",
        "epoch 1: 6,000 of 9,000 samples after 60 s",
        "epoch 1: 9,000 of 9,000 samples after 90 s",
        "epoch 1: done",
        "epoch 2: 10 samples after 30 s",
    ]


def test_short_work_prints_nothing_to_a_log(stderr_of):
    log = stderr_of(terminal=False)
    assert list(with_progress(range(3), "squares")) == [0, 1, 2]
    assert log.getvalue() == ""


def test_terminal_gets_a_bar_with_lines_above_it(stderr_of):
    terminal = stderr_of(terminal=True)
    bar = ProgressBar("epoch 1", total=10, unit="samples")
    bar.update(10)
    bar.print("epoch 1: done")
    bar.close()
    assert "\r" in terminal.getvalue()
    assert "epoch 1: done\n" in terminal.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_silent_bar_prints_nothing(stderr_of, terminal):
    stream = stderr_of(terminal)
    bar = ProgressBar("epoch 1", total=10, silent=True)
    bar.update(10)
    bar.print("epoch 1: done")
    bar.close()
    assert stream.getvalue() == ""
