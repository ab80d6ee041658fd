"""A rank that dies or hangs ends the run soon, and the error names the rank."""

import sys

import pytest

from tests.support.jobs import REPOSITORY, horovodrun
from training.distributed.launcher import how_ended


def run(fault, **variables):
    command = ("-np", "2", sys.executable, "tests/support/faulty_ranks.py", fault)
    return horovodrun(*command, PYTHONPATH=str(REPOSITORY), **variables)


@pytest.mark.parametrize("fault", ["hangs", "stops"])
def test_a_missing_rank_is_named_with_its_last_activity(fault):
    done = run(fault, HOROVOD_STALL_SHUTDOWN_TIME_SECONDS="2")
    assert done.returncode == 1
    assert (
        'error: rank 0, in round 3 of epoch 2, has waited 2 s in the collective "second" for '
        "rank 1 (last seen in round 3 of epoch 2); the run ends."
    ) in done.stderr


def test_a_killed_rank_is_named():
    done = run("is killed")
    assert done.returncode == 1
    assert "error: rank 1 failed first, killed by signal 9; the other ranks were stopped." in done.stderr


@pytest.mark.parametrize(
    ("code", "text"), [(137, "killed by signal 9"), (-15, "killed by signal 15"), (1, "with exit code 1")]
)
def test_exit_codes_are_described_in_words(code, text):
    assert how_ended(code) == text
