"""Domain Negotiation against Algorithm 1 as a plain loop, in float64 to 1e-6."""

import copy

import numpy as np
import pytest
import torch

from tests.support.reference import LR, ROWS, assert_close, named, small_model, train_rounds, walk
from training.data.domain_batches import domain_walk
from training.models import MODELS


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("pack", [False, True])
def test_dn_on_one_rank_is_algorithm_1(name, pack):
    start = small_model(name)
    trained, patch = train_rounds("dn", start, 3, pack=pack, outer_lr=0.3)

    expected, rng = copy.deepcopy(start), np.random.default_rng(3)
    for _ in range(3):
        walker = walk(expected, ROWS, domain_walk(patch, 8, pack, rng), LR)
        for name, value in named(expected).items():
            value += 0.3 * (named(walker)[name] - value)
    assert_close(named(trained), named(expected))
    for before, after in zip(start.parameters(), trained.parameters(), strict=True):
        assert not torch.equal(before, after)
