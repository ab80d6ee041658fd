"""Finetuning in groups against a plain loop, one domain at a time, in float64 to 1e-6."""

import copy

import numpy as np

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
from training.parameters.shared import SharedParameters

SETTINGS = SPECIFIC_SETTINGS.replaced(rounds=("dr", "finetune", "finetune"))


def test_finetuning_passes_over_each_domains_rows():
    """Takes the result of a first round of DR as given, and checks two rounds of finetuning."""
    train, val = random_rows(60, seed=1), random_rows(30, seed=2)
    model = small_model()
    adapter = Adapter(model, SharedParameters.of(model), HelperRows.of(train, 5, 0), SETTINGS)
    for adapted in adapter.adapt(train, val, dict.fromkeys(range(4), 3), Keep.ALL):
        expected = copy.deepcopy(model)
        add_offset(expected, adapted.offsets[1], adapter.theta)
        for round_number in (2, 3):
            own_rows = np.flatnonzero(train["domain_id"] == adapted.domain_id)
            order = np.random.default_rng([5, adapted.domain_id, round_number]).permutation(own_rows)
            adam = PlainAdam(expected, SETTINGS.finetune_lr)
            for begin in range(0, len(order), 6):
                adam.step(loss_of(expected, train, order[begin : begin + 6]))
        actual = copy.deepcopy(model)
        add_offset(actual, adapted.offsets[3], adapter.theta)
        assert_close(named(actual), named(expected))


def add_offset(model, offset, theta):
    """Adds theta^i to the parameters of a model, in place."""
    parameters = named(model)
    begin = 0
    for name in theta.dense:
        size = parameters[name].numel()
        parameters[name] += offset.dense[begin : begin + size].view(parameters[name].shape)
        begin += size
    for name, rows in offset.rows.items():
        parameters[name][offset.ids[theta.vocabulary_of[name]]] += rows
