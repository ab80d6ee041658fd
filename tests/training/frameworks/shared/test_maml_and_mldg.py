"""MAML and MLDG against plain loops, in float64 to 1e-6."""

import copy

import numpy as np
import pytest
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

META_LR = 0.3


def sgd_step(model, parameters, rows, second_order):
    """Returns the parameters after one SGD step on rows."""
    gradients = gradients_of(functional_loss(model, parameters, ROWS, rows), parameters, create_graph=second_order)
    return {name: value - META_LR * gradients[name] for name, value in parameters.items()}


@pytest.mark.parametrize("second_order", [False, True])
def test_maml_reduces_the_query_loss_after_a_step_on_the_support(second_order):
    start = small_model()
    trained, patch = train_rounds("maml", start, 2, meta_lr=META_LR, meta_share=0.25, second_order=second_order)
    expected, rng = copy.deepcopy(start), np.random.default_rng(3)
    adam = PlainAdam(expected, LR)
    for _ in range(2):
        for rows in [rng.permutation(rows) for rows in sum(domain_walk(patch, 8, True, rng), [])]:
            cut = len(rows) - max(1, round(len(rows) / 4))
            parameters = dict(expected.named_parameters())
            ahead = sgd_step(expected, parameters, rows[:cut], second_order)
            adam.apply(gradients_of(functional_loss(expected, ahead, ROWS, rows[cut:]), parameters), ROWS, rows)
    assert_close(named(trained), named(expected))


@pytest.mark.parametrize("second_order", [False, True])
def test_mldg_adds_the_loss_of_held_out_domains_after_a_step(second_order):
    start = small_model()
    trained, patch = train_rounds("mldg", start, 2, meta_lr=META_LR, meta_share=0.5, second_order=second_order)
    expected, rng = copy.deepcopy(start), np.random.default_rng(3)
    adam = PlainAdam(expected, LR)
    for _ in range(2):
        for group in in_groups(sum(domain_walk(patch, 8, True, rng), []), 2):
            train, test = np.concatenate(group[:-1]), group[-1]
            parameters = dict(expected.named_parameters())
            ahead = sgd_step(expected, parameters, train, second_order)
            loss = functional_loss(expected, parameters, ROWS, train) + functional_loss(expected, ahead, ROWS, test)
            adam.apply(gradients_of(loss, parameters), ROWS, np.concatenate(group))
    assert_close(named(trained), named(expected))


@pytest.mark.parametrize("second_order", [False, True])
def test_only_second_order_gives_the_exact_gradient_after_a_step(second_order):
    """Compares to central differences along one direction, which need no derivatives."""
    model = small_model()
    parameters = {name: value.detach().requires_grad_() for name, value in model.named_parameters()}
    support, query = np.arange(10), np.arange(10, 16)
    direction = {name: torch.randn_like(value) for name, value in parameters.items()}

    def loss_after_step(shift):
        moved = {
            name: (value.detach() + shift * direction[name]).requires_grad_() for name, value in parameters.items()
        }
        return functional_loss(model, sgd_step(model, moved, support, False), ROWS, query).item()

    numeric = (loss_after_step(1e-5) - loss_after_step(-1e-5)) / 2e-5
    ahead = sgd_step(model, parameters, support, second_order)
    gradients = gradients_of(functional_loss(model, ahead, ROWS, query), parameters)
    analytic = sum((gradients[name] * direction[name]).sum() for name in gradients).item()
    assert (abs(analytic - numeric) < 1e-7) == second_order
