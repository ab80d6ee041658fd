"""The reader reads every listed row once, in order, or fails; it leaves nothing behind."""

import gc
import os
import pickle
import threading
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from petastorm.etl.dataset_metadata import UNISCHEMA_KEY
from petastorm.etl.legacy import depickle_legacy_package_name_compatible
from petastorm.workers_pool import ventilator
from petastorm.workers_pool.thread_pool import ThreadPool

from training.column_names import ROW_ORDER
from training.data import petastorm_reader
from training.data.petastorm_reader import read_rows
from training.data.snapshot import DataFile
from training.errors import UserError

GROUPS, ROWS = 12, 5
ROW = st.tuples(*[st.integers(0, 3)] * 3, st.integers(0, 1))  # values in ROW_ORDER


@pytest.fixture
def file(tmp_path):
    """A file of 12 row groups of 5 rows, sorted."""
    rows = GROUPS * ROWS
    table = pa.table(
        {
            "domain_id": pa.array(np.repeat([1, 2], rows // 2), pa.int32()),
            "user_id": np.arange(rows),
            "item_id": np.arange(rows),
            "label": pa.array(np.zeros(rows), pa.float32()),
        }
    )
    path = tmp_path / "a b=c.parquet"
    pq.write_table(table, path, row_group_size=ROWS)
    return DataFile(str(path), "train", 0, rows)


@pytest.fixture
def slow_ventilator(monkeypatch):
    """Hands out row groups later than they are read, as a busy machine sometimes does."""
    original = ventilator.ConcurrentVentilator._ventilate

    def late(self):
        handed_out = self._ventilate_fn

        def hand_out(**item):
            time.sleep(0.003)
            handed_out(**item)

        self._ventilate_fn = hand_out
        original(self)

    monkeypatch.setattr(ventilator.ConcurrentVentilator, "_ventilate", late)


@pytest.fixture
def late_completion(monkeypatch):
    """Delays the ventilator so that it hands out the rest between the two checks of get_results."""
    original = ventilator.ConcurrentVentilator.completed

    def completed(self):
        if self._current_item_to_ventilate < len(self._items_to_ventilate):
            time.sleep(0.05)
        return original(self)

    monkeypatch.setattr(ventilator.ConcurrentVentilator, "completed", completed)


def read_often(file):
    for _ in range(5):
        assert len(read_rows([file])["label"]) == GROUPS * ROWS


def test_every_row_is_read_once_in_order(file):
    rows = read_rows([file])
    assert rows["user_id"].tolist() == list(range(GROUPS * ROWS))
    assert set(rows) == set(ROW_ORDER)


@settings(max_examples=30, deadline=None)
@given(of_files=st.lists(st.lists(ROW, min_size=1), min_size=1, max_size=4))
def test_rows_of_a_domain_in_several_files_are_merged(tmp_path_factory, of_files):
    folder, files = tmp_path_factory.mktemp("files"), []
    for number, rows in enumerate(of_files):
        path = str(folder / f"{number}.parquet")
        pq.write_table(pa.table([list(column) for column in zip(*sorted(rows), strict=True)], names=ROW_ORDER), path)
        files.append(DataFile(path, "train", number, len(rows)))
    merged = read_rows(files)
    assert list(zip(*(merged[name].tolist() for name in ROW_ORDER), strict=True)) == sorted(sum(of_files, []))


def test_petastorms_thread_pool_loses_row_groups(file, slow_ventilator, late_completion, monkeypatch):
    monkeypatch.setattr(petastorm_reader, "CompleteThreadPool", ThreadPool)
    with pytest.raises(RuntimeError, match=r"read \d+ rows of 60 listed"):
        read_often(file)


def test_the_fixed_pool_loses_no_row_group(file, slow_ventilator, late_completion):
    read_often(file)


def test_missing_rows_are_an_error(file):
    with pytest.raises(RuntimeError, match="read 60 rows of 61 listed"):
        read_rows([DataFile(file.path, "train", 0, 61)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns("item_id"), 'later.parquet of the samples lacks the column "item_id"'),
        (
            lambda table: table.set_column(0, "domain_id", table["domain_id"].cast("int64")),
            '"domain_id" .* type int64 in file .*later.parquet, but int32',
        ),
    ],
    ids=["lacks a column", "widened"],
)
def test_a_file_with_other_columns_is_named(file, tmp_path, change, message):
    pq.write_table(change(pq.ParquetFile(file.path).read()), tmp_path / "later.parquet")
    later = DataFile(str(tmp_path / "later.parquet"), "train", 1, file.rows)
    with pytest.raises(UserError, match=message):
        read_rows([file, later])


def test_a_failed_reader_leaves_no_thread_and_no_open_file(file, tmp_path):
    def resources():
        gc.collect()
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    read_rows([file])
    before = resources()
    torn = tmp_path / "torn.parquet"
    content = bytearray(Path(file.path).read_bytes())
    content[200:1000] = bytes(800)
    torn.write_bytes(content)
    for _ in range(5):
        with pytest.raises(Exception, match="."):
            read_rows([DataFile(str(torn), "train", 0, file.rows)])
    assert resources() == before


def test_only_requested_columns_are_read(file, tmp_path):
    rows = pq.ParquetFile(file.path).read()
    further = {"ts": pa.array([datetime(2026, 1, 1)] * len(rows)), "city": pa.array(["Hangzhou"] * len(rows))}
    for name, column in further.items():
        rows = rows.append_column(name, column)
    pq.write_table(rows, tmp_path / "wide.parquet")
    wide = DataFile(str(tmp_path / "wide.parquet"), "train", 0, file.rows)
    assert {name: column.tolist() for name, column in read_rows([wide]).items()} == {
        name: column.tolist() for name, column in read_rows([file]).items()
    }


class Trap:
    """Creates a folder when it is unpickled, even by Petastorm's restricted unpickler."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return eval, (f"__import__('os').mkdir({self.path!r})",)


def test_a_pickle_in_or_beside_the_files_is_not_run(file, tmp_path):
    """Petastorm stores its schema as a pickle in the metadata of Parquet files."""
    trap = {UNISCHEMA_KEY: pickle.dumps(Trap(tmp_path / "made"))}
    rows = pq.ParquetFile(file.path).read().replace_schema_metadata(trap)
    for name in ("part.parquet", "_common_metadata", "_metadata"):
        pq.write_table(rows, tmp_path / name)
    with pytest.raises(FileNotFoundError):
        depickle_legacy_package_name_compatible(pickle.dumps(Trap(tmp_path / "no folder" / "made")))
    assert len(read_rows([DataFile(str(tmp_path / "part.parquet"), "train", 0, file.rows)])["label"]) == file.rows
    assert not (tmp_path / "made").exists()


def test_several_readers_run_one_after_another(file):
    assert [len(read_rows([file])["label"]) for _ in range(3)] == [60, 60, 60]


def test_the_reader_prints_nothing_on_stdout(file, capsys):
    read_rows([file])
    assert capsys.readouterr().out == ""


def test_no_files_give_no_rows():
    assert [len(column) for column in read_rows([]).values()] == [0, 0, 0, 0]
