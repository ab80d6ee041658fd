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
from training.data.bucket_plan import balance, plan_epoch
from training.data.petastorm_reader import read_rows
from training.data.snapshot import DataFile
from training.errors import UserError

GROUPS, ROWS = 12, 5
ROW = st.tuples(*[st.integers(0, 3)] * 3, st.integers(0, 1))  # by ROW_ORDER


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
    """Hands out row groups later than they are read, which a busy machine does by chance."""
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
    """Lets the ventilator hand out the rest between the two looks of ThreadPool.get_results."""
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
    assert set(rows) == {"domain_id", "user_id", "item_id", "label"}


@settings(max_examples=30, deadline=None)
@given(of_files=st.lists(st.lists(ROW, min_size=1), min_size=1, max_size=4))
def test_rows_of_a_domain_that_lie_in_several_files_are_merged(tmp_path_factory, of_files):
    folder, files = tmp_path_factory.mktemp("files"), []
    for number, rows in enumerate(of_files):
        path = str(folder / f"{number}.parquet")
        pq.write_table(pa.table([list(column) for column in zip(*sorted(rows), strict=True)], names=ROW_ORDER), path)
        files.append(DataFile(path, "train", number, len(rows)))
    found = read_rows(files)
    assert list(zip(*(found[name].tolist() for name in ROW_ORDER), strict=True)) == sorted(sum(of_files, []))


def test_petastorms_own_pool_loses_row_groups_here(file, slow_ventilator, late_completion, monkeypatch):
    monkeypatch.setattr(petastorm_reader, "CompleteThreadPool", ThreadPool)
    with pytest.raises(RuntimeError, match=r"read \d+ rows of 60 listed"):
        read_often(file)


def test_our_pool_loses_none_under_the_same_timing(file, slow_ventilator, late_completion):
    read_often(file)


def test_rows_that_are_listed_but_not_there_are_noticed(file):
    with pytest.raises(RuntimeError, match="read 60 rows of 61 listed"):
        read_rows([DataFile(file.path, "train", 0, 61)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns("item_id"), 'lacks the column "item_id"'),
        (lambda table: table.set_column(0, "domain_id", table["domain_id"].cast("int64")), 'int64 as .* "domain_id"'),
    ],
    ids=["lacks a column", "widened"],
)
def test_a_later_file_with_other_columns_is_refused_by_name(file, tmp_path, change, message):
    pq.write_table(change(pq.ParquetFile(file.path).read()), tmp_path / "later.parquet")
    later = DataFile(str(tmp_path / "later.parquet"), "train", 1, file.rows)
    with pytest.raises(UserError, match=f"later.parquet of the samples .*{message}"):
        read_rows([file, later])


def test_a_reader_that_an_error_ends_leaves_no_thread_and_no_open_file(file, tmp_path):
    def held():
        gc.collect()
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    read_rows([file])
    before = held()
    torn = tmp_path / "torn.parquet"
    content = bytearray(Path(file.path).read_bytes())
    content[200:1000] = bytes(800)
    torn.write_bytes(content)
    for _ in range(5):
        with pytest.raises(Exception, match="."):
            read_rows([DataFile(str(torn), "train", 0, file.rows)])
    assert held() == before


def test_columns_that_no_feature_names_are_not_read(file, tmp_path):
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
    """Whoever unpickles it makes a folder, by what Petastorm's own unpickler allows."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return eval, (f"__import__('os').mkdir({self.path!r})",)


def test_a_pickle_in_or_beside_the_files_is_not_run(file, tmp_path):
    """Petastorm keeps its schema as a pickle in the metadata of Parquet."""
    trap = {UNISCHEMA_KEY: pickle.dumps(Trap(tmp_path / "made"))}
    rows = pq.ParquetFile(file.path).read().replace_schema_metadata(trap)
    for name in ("part.parquet", "_common_metadata", "_metadata"):
        pq.write_table(rows, tmp_path / name)
    with pytest.raises(FileNotFoundError):
        depickle_legacy_package_name_compatible(pickle.dumps(Trap(tmp_path / "no folder" / "made")))
    assert len(read_rows([DataFile(str(tmp_path / "part.parquet"), "train", 0, file.rows)])["label"]) == file.rows
    assert not (tmp_path / "made").exists()


def test_a_reader_can_be_left_and_another_started(file):
    assert [len(read_rows([file])["label"]) for _ in range(3)] == [60, 60, 60]


def test_nothing_on_stdout(file, capsys):
    read_rows([file])
    assert capsys.readouterr().out == ""


def test_no_files_are_no_rows():
    assert [len(column) for column in read_rows([]).values()] == [0, 0, 0, 0]


def test_shares_differ_by_a_tenth_at_most_even_beside_a_giant():
    weights = {0: 300, **dict.fromkeys(range(1, 71), 10)}
    for seed in range(5):
        dealt = balance(weights, 3, np.random.default_rng(seed))
        assert sorted(sum(dealt, [])) == sorted(weights)
        loads = [sum(weights[key] for key in share) for share in dealt]
        assert max(loads) / (sum(loads) / 3) <= 1.1


def test_epochs_mix_differently_and_a_seed_and_epoch_always_alike():
    rows = dict.fromkeys(range(12), 10)
    plans = [plan_epoch(rows, 2, 3, seed, epoch) for seed, epoch in ((0, 1), (0, 1), (0, 2), (1, 1))]
    assert plans[0] == plans[1]
    assert len({str(plan) for plan in plans}) == 3


def test_every_rank_makes_the_same_number_of_rounds():
    plan = plan_epoch({0: 5, 1: 5, 2: 5}, 2, 4, 0, 1)
    assert [len(rounds) for rounds in plan] == [4, 4]
    assert sorted(bucket for rounds in plan for buckets in rounds for bucket in buckets) == [0, 1, 2]
