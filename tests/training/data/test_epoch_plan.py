"""Tests the plan of an epoch: which rank reads which buckets in which round."""

import numpy as np

from training.data.bucket_plan import balance, plan_epoch


def test_loads_differ_by_a_tenth_even_beside_a_giant_bucket():
    weights = {0: 300, **dict.fromkeys(range(1, 71), 10)}
    for seed in range(5):
        dealt = balance(weights, 3, np.random.default_rng(seed))
        assert sorted(sum(dealt, [])) == sorted(weights)
        loads = [sum(weights[key] for key in share) for share in dealt]
        assert max(loads) / (sum(loads) / 3) <= 1.1


def test_plans_depend_on_the_seed_and_the_epoch_only():
    rows = dict.fromkeys(range(12), 10)
    plans = [plan_epoch(rows, 2, 3, seed, epoch) for seed, epoch in ((0, 1), (0, 1), (0, 2), (1, 1))]
    assert plans[0] == plans[1]
    assert len({str(plan) for plan in plans}) == 3


def test_every_rank_makes_the_same_number_of_rounds():
    plan = plan_epoch({0: 5, 1: 5, 2: 5}, 2, 4, 0, 1)
    assert [len(rounds) for rounds in plan] == [4, 4]
    assert sorted(bucket for rounds in plan for buckets in rounds for bucket in buckets) == [0, 1, 2]
