"""Rows of sharded tables on one rank; tests/training/distributed/test_ranks.py has tests on several ranks."""

import torch

from training.distributed.ranks import Ranks
from training.parameters.table_shards import Shard

HUGE = 100_000_000


def make_shard(size=10, seed=3, ranks=None):
    shard = Shard("user_id", size, seed, ranks or Ranks())
    shard.add("user_id.weight", 2, scale=0.5)
    return shard


def pull(shard, *ids):
    return shard.pull(torch.tensor(ids), ["user_id.weight"])["user_id.weight"]


def test_initial_row_depends_on_seed_and_id_alone():
    first, second = make_shard(), make_shard()
    pull(second, 9, 1)
    torch.testing.assert_close(pull(first, 1, 5), pull(second, 5, 1).flip(0), rtol=0, atol=0)
    assert not torch.equal(pull(first, 1), pull(make_shard(seed=4), 1))


def test_tables_of_a_vocabulary_have_different_initial_rows():
    shard = make_shard()
    shard.add("wide.user_id.weight", 2, scale=0.5)
    rows = shard.pull(torch.tensor([7]), ["user_id.weight", "wide.user_id.weight"])
    assert not torch.equal(rows["user_id.weight"], rows["wide.user_id.weight"])


def test_only_pulled_rows_take_memory():
    shard = make_shard(size=HUGE)
    assert pull(shard, 0, HUGE - 1).shape == (2, 2)
    assert len(shard) == 2
    assert shard.state()["ids"].tolist() == [0, HUGE - 1]


def test_push_moves_only_its_rows_by_the_rate():
    shard = make_shard()
    before = pull(shard, 2, 3)
    shard.push(torch.tensor([3]), {"user_id.weight": torch.tensor([[1.0, -2.0]])}, rate=0.5)
    torch.testing.assert_close(pull(shard, 2, 3) - before, torch.tensor([[0.0, 0.0], [0.5, -1.0]]))


class LoneRank(Ranks):
    """Represents one of several ranks, for what it does without the others."""

    def __init__(self, rank, size):
        super().__init__()
        self.rank, self.size = rank, size


def test_rows_saved_by_two_ranks_are_loaded_by_three():
    rows = {"ids": torch.arange(7), "user_id.weight": torch.arange(14.0).view(7, 2)}
    saved = []
    for rank in range(2):
        shard = make_shard(size=7, ranks=LoneRank(rank, 2))
        shard.load(rows)
        saved.append(shard.state())
    assert [state["ids"].tolist() for state in saved] == [[0, 2, 4, 6], [1, 3, 5]]
    loaded = {}
    for rank in range(3):
        shard = make_shard(size=7, ranks=LoneRank(rank, 3))
        for state in saved:
            shard.load(state)
        state = shard.state()
        loaded |= dict(zip(state["ids"].tolist(), state["user_id.weight"].tolist(), strict=True))
    assert loaded == dict(enumerate(rows["user_id.weight"].tolist()))
