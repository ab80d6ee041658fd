"""Tests which runs are refused before training starts."""

import pytest

from training.data.snapshot import take_snapshot
from training.errors import UserError
from training.loop.open_run import refuse_idle_ranks
from training.train import train


def test_more_ranks_than_buckets_are_refused(built):
    snapshot = take_snapshot(built.config())
    buckets = len(snapshot.rows_by_bucket("train"))
    refuse_idle_ranks(snapshot, buckets)
    with pytest.raises(UserError, match=f"{buckets + 1} ranks for {buckets} buckets .*: start at most {buckets}"):
        refuse_idle_ranks(snapshot, buckets + 1)


def test_cuda_without_a_gpu_is_refused(built):
    with pytest.raises(UserError, match="training.device is cuda, but torch finds no GPU"):
        train(built.config("training.device=cuda"))
