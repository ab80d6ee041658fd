"""Joint and alternate training against plain loops, in float64 to 1e-6."""

import copy

import numpy as np
import pytest

from tests.support.reference import LR, ROWS, PlainAdam, assert_close, loss_of, named, small_model, train_rounds
from training.data.domain_batches import domain_walk, shuffled_batches


@pytest.mark.parametrize("framework", ["joint", "alternate"])
def test_moments_last_from_round_to_round(framework):
    start = small_model()
    trained, patch = train_rounds(framework, start, 2)

    expected, rng = copy.deepcopy(start), np.random.default_rng(3)
    adam = PlainAdam(expected, LR)
    for _ in range(2):
        if framework == "joint":
            batches = shuffled_batches(len(ROWS["label"]), 8, rng)
        else:
            batches = sum(domain_walk(patch, 8, True, rng), [])
        for rows in batches:
            adam.step(loss_of(expected, ROWS, rows), ROWS, rows)
    assert_close(named(trained), named(expected))
