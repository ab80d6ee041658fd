"""Some kills of each kind of job; `make torture` makes fifty."""

from tests.torture import torture


def test_no_kill_loses_anything(tmp_path):
    one_executor = "local-cluster[1,1,1024]"
    kills = torture(tmp_path, kills=3, seed=1, steps=("build", "train", "dr"), master=one_executor)
    assert [kill.step for kill in kills] == ["build", "train", "dr"]
    assert [kill for kill in kills if kill.lost] == []
