"""Some kills of each kind of job; `make torture` makes fifty."""

from tests.jobs import ONE_EXECUTOR
from tests.torture import torture


def test_no_kill_loses_anything(tmp_path):
    kills = torture(tmp_path, kills=3, seed=1, steps=("build", "train", "dr"), master=ONE_EXECUTOR)
    assert [kill.step for kill in kills] == ["build", "train", "dr"]
    assert [kill for kill in kills if kill.lost] == []
