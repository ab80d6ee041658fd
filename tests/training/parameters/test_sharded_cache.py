import torch

from tests.support.reference import SIZES, small_model
from training.distributed.ranks import Ranks
from training.parameters.adam import Moments
from training.parameters.sharded_cache import sharded_cache
from training.parameters.shared import SharedParameters
from training.parameters.table_shards import Shard

USERS = "embeddings.user_id.weight"


def sharded_parameters():
    shard = Shard("user_id", SIZES["user_id"], 0, Ranks(), torch.float64)
    theta = SharedParameters.of(small_model(), {"user_id": shard})
    shard.add(USERS, 3, scale=0.1)
    return theta, shard


def test_changes_of_cached_rows_and_moments_reach_the_shard():
    theta, shard = sharded_parameters()
    ids, moments = {"user_id": torch.tensor([2, 5])}, Moments()
    before = shard.pull(torch.arange(7), [USERS])[USERS]
    for _ in range(2):
        with sharded_cache(theta, ids, moments) as cache:
            assert USERS not in theta.tables
            cache.tables[USERS][1] += 1
            moments.first[USERS][0] += 3
        assert not moments.first
        assert not moments.second
    rows = shard.pull(torch.arange(7), [USERS, f"first.{USERS}"])
    changed = torch.zeros(7, 3, dtype=torch.float64)
    changed[5] = 2
    torch.testing.assert_close(rows[USERS] - before, changed)
    assert rows[f"first.{USERS}"][:, 0].tolist() == [0, 0, 6, 0, 0, 0, 0]


def test_without_shards_the_block_works_on_the_parameters():
    theta = SharedParameters.of(small_model())
    with sharded_cache(theta, {}, Moments()) as cache:
        assert cache is theta
