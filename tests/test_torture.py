"""A handful of the kills of `make torture`."""

from tests.torture import STEPS, torture


def test_no_kill_loses_anything(tmp_path):
    kills = torture(tmp_path, kills=len(STEPS), seed=1)
    assert [kill for kill in kills if kill.lost] == []
