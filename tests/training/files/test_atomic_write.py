"""Atomic writes under concurrency and failure."""

import pytest

from training.files.atomic_write import atomic_write


def write_half(path):
    path.write_text("ha")
    raise OSError("disk full")


def test_of_two_concurrent_writers_the_last_to_finish_wins(tmp_path):
    path = tmp_path / "file.json"
    with atomic_write(path) as first, atomic_write(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_file_unchanged(tmp_path):
    path = tmp_path / "file.json"
    path.write_text("whole")
    with pytest.raises(OSError, match="disk full"), atomic_write(path) as temporary:
        write_half(temporary)
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]
