"""Weighted Loss against a plain loop, in float64 to 1e-6."""

import copy

import numpy as np
import torch

from tests.support.reference import LR, ROWS, PlainAdam, assert_close, loss_of, named, small_model, train_rounds
from training.data.domain_batches import domain_walk


def test_each_domain_learns_an_uncertainty():
    start = small_model(framework="weighted")
    trained, patch = train_rounds("weighted", start, 2)
    expected, rng = copy.deepcopy(start), np.random.default_rng(3)
    adam = PlainAdam(expected, LR)
    for _ in range(2):
        for rows in sum(domain_walk(patch, 8, True, rng), []):
            log_sigma = expected.log_sigma[torch.tensor(ROWS["domain_id"][rows]).long(), 0]
            losses = torch.stack([loss_of(expected, ROWS, [row]) for row in rows])
            adam.step((losses / log_sigma.exp() ** 2 + log_sigma).mean(), ROWS, rows)
    assert_close(named(trained), named(expected))
    assert (trained.log_sigma != 0).all()
