"""Tests which model a warm start takes its values from."""

from training.artifacts.manifest import FOLDER
from training.artifacts.model_names import model_path, shared_version
from training.artifacts.warm_start import find_warm_start


def test_warm_start_takes_the_newest_earlier_model(built, tmp_path, capsys):
    first, daily = (built.config(f"training.warm_start={warm}", f"root={tmp_path}") for warm in ("false", "true"))
    assert find_warm_start(daily, 9) is None
    assert "starting from scratch" in capsys.readouterr().err
    for config, version in ((first, 3), (daily, 3), (first, 5), (daily, 9), (first, 9)):
        (model_path(config, shared_version(config, version)) / FOLDER).mkdir(parents=True)
    expected = {9: (first, 5), 5: (daily, 3)}
    for version, (config, earlier) in expected.items():
        origin = find_warm_start(daily, version)
        assert origin == shared_version(config, earlier)
        assert f"starting from model {origin}" in capsys.readouterr().err
    assert find_warm_start(daily, 3) is None
    assert find_warm_start(first, 9) is None
