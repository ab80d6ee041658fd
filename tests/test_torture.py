"""Some kills of each kind of job; `make torture` makes fifty."""

import time

import pytest

from pipelines.build_domains import build
from pipelines.dr_longtail import dr_longtail
from tests.support.jobs import ONE_EXECUTOR
from tests.support.torture import torture
from training.config import load_config
from training.train import train

JOBS = {"build": build, "train": lambda _, config: train(config), "dr": dr_longtail}
STARTING = 4  # times as long as in a session that has made a build takes a job whose processes start for it


@pytest.mark.usefixtures("built")
def test_no_kill_loses_anything(spark, tmp_path):
    """The state to come to is that of the jobs in this session, whose tasks and processes are other ones."""

    def in_this_session(step, config):
        start = time.monotonic()
        JOBS[step](spark, load_config(config))
        return STARTING * (time.monotonic() - start)

    kills = torture(tmp_path, 3, seed=1, steps=tuple(JOBS), master=ONE_EXECUTOR, undisturbed=in_this_session)
    assert [kill.step for kill in kills] == ["build", "train", "dr"]
    assert [kill for kill in kills if kill.lost] == []
