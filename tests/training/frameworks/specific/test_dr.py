"""DR in groups under vmap against Algorithm 2, one domain at a time, in float64 to 1e-6."""

import copy

import numpy as np
import pytest
import torch

from tests.support.reference import (
    SPECIFIC_SETTINGS,
    PlainAdam,
    assert_close,
    loss_of,
    named,
    random_rows,
    small_model,
)
from training.frameworks.specific.adapter import Adapter, Keep
from training.frameworks.specific.helper_rows import HelperRows
from training.models import MODELS
from training.parameters.forward import predict, predict_adapted
from training.parameters.shared import SharedParameters

ROUNDS = 2
SETTINGS = SPECIFIC_SETTINGS.replaced(rounds=("dr",) * ROUNDS)
TRAIN, VAL = random_rows(60, seed=1), random_rows(30, seed=2)


def algorithm_2(model, domain, helpers):
    """Returns theta^S + theta^i of one domain after all rounds, as a model."""
    own_rows = np.flatnonzero(TRAIN["domain_id"] == domain)
    shared, current = named(model), copy.deepcopy(model).eval()  # statistics are those of theta^S
    may_change = {}
    for name, value in shared.items():
        mask = torch.ones_like(value, dtype=torch.bool)
        if name in model.tables:
            mask[:] = False
            mask[torch.tensor(TRAIN[model.tables[name]][own_rows]).long()] = True
        may_change[name] = mask
    for round_number in range(1, ROUNDS + 1):
        rng = np.random.default_rng([SETTINGS.seed, domain, round_number])
        drawn = helpers.draw(domain, SETTINGS.helpers, rng)  # line 1
        adam = PlainAdam(current, SETTINGS.dr_inner_lr)
        for index in drawn:  # line 2
            walker = copy.deepcopy(current)  # line 3
            adam.model = walker
            step(adam, walker, helpers.columns, helpers.rows_of(index), may_change)  # line 4
            order = rng.permutation(own_rows)
            for begin in range(0, len(order), SETTINGS.dr_batch_size):
                step(adam, walker, TRAIN, order[begin : begin + SETTINGS.dr_batch_size], may_change)  # line 5
            for parameter, walked in zip(current.parameters(), walker.parameters(), strict=True):
                parameter.data += SETTINGS.dr_lr * (walked - parameter).detach()  # line 6
    return current


def step(adam, walker, columns, rows, may_change):
    """Takes one step on the values that may change."""
    walker.zero_grad()
    loss_of(walker, columns, rows).backward()
    adam.apply({name: p.grad * may_change[name] for name, p in walker.named_parameters()})


@pytest.mark.parametrize("name", MODELS)
def test_dr_in_groups_is_algorithm_2(name):
    model = small_model(name)
    loss_of(model, TRAIN, np.arange(60))  # gives it statistics, if it has any
    adapter = Adapter(model, SharedParameters.of(model), HelperRows.of(TRAIN, 5, 0), SETTINGS)
    shared = named(copy.deepcopy(model))
    adapted = adapter.adapt(TRAIN, VAL, dict.fromkeys(range(4), ROUNDS), Keep.LAST)
    offsets = {result.domain_id: result.offsets[ROUNDS] for result in adapted}
    assert sorted(offsets) == [0, 1, 2, 3]
    assert_close(named(model), shared)

    logits = predict(model, SharedParameters.of(model), VAL)
    actual = predict_adapted(model, adapter.theta, VAL, offsets, logits)
    for domain, offset in offsets.items():
        expected = algorithm_2(model, domain, adapter.helpers)
        rows = VAL["domain_id"] == domain
        np.testing.assert_allclose(
            actual[rows], predict(expected, SharedParameters.of(expected), VAL)[rows], rtol=0, atol=1e-6
        )
        dense = torch.cat([(named(expected)[n] - shared[n]).flatten() for n in adapter.theta.dense])
        torch.testing.assert_close(offset.dense, dense, rtol=0, atol=1e-6)
        for table, rows in offset.rows.items():
            ids = offset.ids[model.tables[table]]
            torch.testing.assert_close(rows, named(expected)[table][ids] - shared[table][ids], rtol=0, atol=1e-6)
