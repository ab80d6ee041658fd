"""PCGrad against a plain loop, in float64 to 1e-6."""

import copy

import numpy as np
import torch

from tests.support.reference import (
    LR,
    ROWS,
    PlainAdam,
    assert_close,
    functional_loss,
    gradients_of,
    named,
    small_model,
    train_rounds,
)
from training.data.domain_batches import domain_walk
from training.frameworks.common.round import in_groups
from training.frameworks.shared.pcgrad import projection_weights


def test_conflicting_gradients_and_no_others_are_projected():
    start = small_model()
    trained, patch = train_rounds("pcgrad", start, 2, pcgrad_domains=3)
    expected, rng = copy.deepcopy(start), np.random.default_rng(3)
    adam = PlainAdam(expected, LR)
    conflicts = agreements = 0
    for _ in range(2):
        for group in in_groups(sum(domain_walk(patch, 8, True, rng), []), 3):
            parameters = dict(expected.named_parameters())
            original = [gradients_of(functional_loss(expected, parameters, ROWS, rows), parameters) for rows in group]
            projected = [copy.copy(gradient) for gradient in original]
            for i, gradient in enumerate(projected):
                for j in rng.permutation(len(group)):
                    product = sum((gradient[name] * original[j][name]).sum() for name in gradient)
                    if j != i and product < 0:
                        square = sum((value**2).sum() for value in original[j].values())
                        for name in gradient:
                            gradient[name] = gradient[name] - product / square * original[j][name]
                    conflicts += int(j != i and product < 0)
                    agreements += int(j != i and product > 0)
            mean = {name: sum(gradient[name] for gradient in projected) / len(group) for name in parameters}
            adam.apply(mean, ROWS, np.concatenate(group))
    assert conflicts
    assert agreements
    assert_close(named(trained), named(expected))


def test_weights_give_the_mean_of_the_projected_gradients():
    gradients = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    weights = projection_weights(gradients @ gradients.T, np.random.default_rng(0))
    assert weights.tolist() == [1.0, 0.75]
    projected = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    assert torch.allclose(weights @ gradients, projected.mean(0))
