import pytest

from training.files.atomic_write import atomic_write


def write_half(path):
    path.write_text("ha")
    raise OSError("disk full")


def test_two_may_write_one_file_at_once_and_the_last_one_stays(tmp_path):
    path = tmp_path / "file.json"
    with atomic_write(path) as first, atomic_write(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "file.json"
    path.write_text("whole")
    with pytest.raises(OSError, match="disk full"), atomic_write(path) as aside:
        write_half(aside)
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]
