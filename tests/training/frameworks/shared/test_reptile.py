"""Reptile against a plain loop, in float64 to 1e-6."""

import copy

import numpy as np

from tests.support.reference import LR, ROWS, assert_close, named, small_model, train_rounds, walk
from training.data.domain_batches import domain_walk


def test_outer_step_follows_each_domain():
    start = small_model()
    trained, patch = train_rounds("reptile", start, 2, outer_lr=0.3)
    expected, rng = copy.deepcopy(start), np.random.default_rng(3)
    for _ in range(2):
        for domain in domain_walk(patch, 8, True, rng):
            walker = walk(expected, ROWS, [domain], LR)
            for parameter, moved in zip(expected.parameters(), walker.parameters(), strict=True):
                parameter.data += 0.3 * (moved - parameter).detach()
    assert_close(named(trained), named(expected))
