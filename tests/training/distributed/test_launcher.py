"""Tests how the launcher reports mistakes."""

import sys

from tests.support.jobs import horovodrun


def test_more_ranks_than_slots_are_refused_at_once(built):
    done = horovodrun("-np", "3", "-H", "localhost:2", sys.executable, "training/train.py")
    assert done.returncode == 2
    assert "-np 3 asks for more ranks than the 2 slots of localhost:2" in done.stderr
    assert "Traceback" not in done.stderr
