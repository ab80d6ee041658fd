"""A rank that dies or hangs ends the run soon, and is named."""

import sys

import pytest

from tests.support.jobs import REPOSITORY, horovodrun
from training.distributed.launcher import how_ended


def run(fault, **variables):
    command = ("-np", "2", sys.executable, "tests/support/faulty_ranks.py", fault)
    return horovodrun(*command, PYTHONPATH=str(REPOSITORY), **variables)


@pytest.mark.parametrize("fault", ["hangs", "stops"])
def test_a_rank_that_does_not_come_is_named_with_its_last_place_and_the_run_ends(fault):
    done = run(fault, HOROVOD_STALL_SHUTDOWN_TIME_SECONDS="2")
    assert done.returncode == 1
    assert (
        "error: rank 0, in round 3 of epoch 2, has waited 2 s for rank 1, last seen in round 3 of epoch 2, to come to"
        in (done.stderr)
    )


def test_a_rank_that_is_killed_is_named():
    done = run("is killed")
    assert done.returncode == 1
    assert "error: rank 1 was the first to end, killed by signal 9; the others were stopped" in done.stderr


@pytest.mark.parametrize(
    ("code", "text"), [(137, "killed by signal 9"), (-15, "killed by signal 15"), (1, "with exit code 1")]
)
def test_exit_codes_are_told_in_words(code, text):
    assert how_ended(code) == text
