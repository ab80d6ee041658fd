"""Kills one job of each kind; `make torture` kills fifty times."""

import time

import pytest

from pipelines.build_domains import build
from pipelines.dr_longtail import dr_longtail
from tests.support.jobs import ONE_EXECUTOR
from tests.support.torture import torture
from training.config import load_config
from training.train import train

JOBS = {"build": build, "train": lambda _, config: train(config), "dr": dr_longtail}
COMMAND_OVER_SESSION = 4  # a command, which starts its processes, takes about 4 times as long as a warm session


@pytest.mark.usefixtures("built")
def test_no_kill_loses_anything(spark, tmp_path):
    """Compares each killed job with the same job in this session, which has other tasks and processes."""

    def run_in_this_session(step, config):
        start = time.monotonic()
        JOBS[step](spark, load_config(config))
        return COMMAND_OVER_SESSION * (time.monotonic() - start)

    kills = torture(tmp_path, 3, seed=1, steps=tuple(JOBS), master=ONE_EXECUTOR, run_step=run_in_this_session)
    assert [kill.step for kill in kills] == ["build", "train", "dr"]
    assert [kill for kill in kills if kill.lost] == []
