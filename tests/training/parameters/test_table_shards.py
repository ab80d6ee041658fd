"""Rows of sharded tables on one rank; test_some_ranks.py has what several ranks learn in them."""

import numpy as np
import torch

from training.distributed.ranks import Ranks
from training.parameters.remote_tables import StoredTable
from training.parameters.row_initialization import draw_rows, table_key
from training.parameters.table_shards import Shard

HUGE = 100_000_000


def shard(size=10, seed=3, ranks=None):
    result = Shard("user_id", size, seed, ranks or Ranks())
    result.add("user_id.weight", 2, scale=0.5)
    return result


def pulled(of, *ids):
    return of.pull(torch.tensor(ids), ["user_id.weight"])["user_id.weight"]


def test_a_row_is_decided_by_seed_and_id_and_not_by_who_asks_first():
    first, second = shard(), shard()
    pulled(second, 9, 1)
    torch.testing.assert_close(pulled(first, 1, 5), pulled(second, 5, 1).flip(0), rtol=0, atol=0)
    assert not torch.equal(pulled(first, 1), pulled(shard(seed=4), 1))


def test_tables_of_a_vocabulary_draw_rows_of_their_own():
    both = shard()
    both.add("wide.user_id.weight", 2, scale=0.5)
    rows = both.pull(torch.tensor([7]), ["user_id.weight", "wide.user_id.weight"])
    assert not torch.equal(rows["user_id.weight"], rows["wide.user_id.weight"])


def test_drawn_rows_are_normal_and_as_wide_spread_as_they_should_be():
    rows = draw_rows(np.arange(20_000), 4, 0.05, key=1)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows.mean(0), 0, atol=0.002)
    np.testing.assert_allclose(rows.std(0), 0.05, rtol=0.03)
    np.testing.assert_allclose(np.corrcoef(rows.T), np.eye(4), atol=0.03)
    assert 0.94 < (np.abs(rows) < 0.1).mean() < 0.97


def test_only_rows_that_were_asked_for_are_drawn_and_the_others_take_no_memory():
    of = shard(size=HUGE)
    assert pulled(of, 0, HUGE - 1).shape == (2, 2)
    assert len(of) == 2
    assert of.state()["ids"].tolist() == [0, HUGE - 1]


def test_a_pushed_row_moves_at_the_rate_and_the_others_stay():
    of = shard()
    before = pulled(of, 2, 3)
    of.push(torch.tensor([3]), {"user_id.weight": torch.tensor([[1.0, -2.0]])}, rate=0.5)
    torch.testing.assert_close(pulled(of, 2, 3) - before, torch.tensor([[0.0, 0.0], [0.5, -1.0]]))


def test_a_stored_row_is_the_shards_row_and_one_that_no_rank_has_is_drawn_as_the_shard_would():
    of = shard()
    of.push(torch.tensor([4]), {"user_id.weight": torch.ones(1, 2)}, rate=1.0)
    state = of.state()
    stored = StoredTable(
        [(state["ids"], state["user_id.weight"])], (10, 2), 0.5, table_key(3, "user_id.weight"), torch.empty(0)
    )
    ids = torch.tensor([[4, 9], [0, 4]])
    torch.testing.assert_close(stored[ids], pulled(of, 4, 9, 0)[torch.tensor([[0, 1], [2, 0]])], rtol=0, atol=0)


class OneOf(Ranks):
    """One of several ranks, for what it does without the others."""

    def __init__(self, rank, size):
        super().__init__()
        self.rank, self.size = rank, size


def test_rows_saved_by_some_ranks_are_loaded_by_any_other_number_of_them():
    rows = {"ids": torch.arange(7), "user_id.weight": torch.arange(14.0).view(7, 2)}
    saved = []
    for rank in range(2):
        one = shard(size=7, ranks=OneOf(rank, 2))
        one.load(rows)
        saved.append(one.state())
    assert [state["ids"].tolist() for state in saved] == [[0, 2, 4, 6], [1, 3, 5]]
    found = {}
    for rank in range(3):
        one = shard(size=7, ranks=OneOf(rank, 3))
        for state in saved:
            one.load(state)
        state = one.state()
        found |= dict(zip(state["ids"].tolist(), state["user_id.weight"].tolist(), strict=True))
    assert found == dict(enumerate(rows["user_id.weight"].tolist()))
