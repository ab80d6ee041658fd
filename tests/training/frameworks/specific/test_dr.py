"""DR in groups under vmap against Algorithm 2, one domain at a time, in float64 to 1e-6."""

import copy
from dataclasses import replace

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
from training.frameworks.specific.helper_rows import HelperRows, choose_helper_domains
from training.frameworks.specific.round_choice import choose_rounds, size_groups
from training.models import MODELS
from training.parameters.forward import predict, predict_adapted
from training.parameters.remote_tables import StoredTable
from training.parameters.shared import SharedParameters

ROUNDS = 2
SETTINGS = SPECIFIC_SETTINGS.replaced(rounds=("dr",) * ROUNDS)
ALL_ROUNDS = dict.fromkeys(range(4), ROUNDS)
TRAIN, VAL = random_rows(60, seed=1), random_rows(30, seed=2)


@pytest.fixture(params=["mlp", "deepfm", "star"])
def model(request):
    model = small_model(request.param)
    loss_of(model, TRAIN, np.arange(60))  # gives it statistics, if it keeps any
    return model


def make_adapter(model, settings=SETTINGS, train=TRAIN):
    return Adapter(model, SharedParameters.of(model), HelperRows.of(train, 5, 0), settings)


def algorithm_2(model, domain, helpers):
    """theta^S + theta^i of one domain after the rounds, as a whole model, and the mask of rows it may change."""
    own = np.flatnonzero(TRAIN["domain_id"] == domain)
    shared, current = named(model), copy.deepcopy(model).eval()  # statistics are those of theta^S
    may_change = {}
    for name, value in shared.items():
        mask = torch.ones_like(value, dtype=torch.bool)
        if name in model.tables:
            mask[:] = False
            mask[torch.tensor(TRAIN[model.tables[name]][own]).long()] = True
        may_change[name] = mask
    for turn in range(1, ROUNDS + 1):
        rng = np.random.default_rng([SETTINGS.seed, domain, turn])
        drawn = helpers.draw(domain, SETTINGS.helpers, rng)  # line 1
        adam = PlainAdam(current, SETTINGS.dr_inner_lr)
        for place in drawn:  # line 2
            walker = copy.deepcopy(current)  # line 3
            adam.model = walker
            step(adam, walker, helpers.columns, helpers.rows_of(place), may_change)  # line 4
            order = rng.permutation(own)
            for begin in range(0, len(order), SETTINGS.dr_batch_size):
                step(adam, walker, TRAIN, order[begin : begin + SETTINGS.dr_batch_size], may_change)  # line 5
            for parameter, walked in zip(current.parameters(), walker.parameters(), strict=True):
                parameter.data += SETTINGS.dr_lr * (walked - parameter).detach()  # line 6
    return current


def step(adam, walker, columns, rows, may_change):
    walker.zero_grad()
    loss_of(walker, columns, rows).backward()
    adam.apply({name: p.grad * may_change[name] for name, p in walker.named_parameters()})


@pytest.mark.parametrize("model", MODELS, indirect=True)
def test_dr_in_groups_is_algorithm_2_one_domain_at_a_time(model):
    adapter = make_adapter(model)
    shared = named(copy.deepcopy(model))
    adapted = {one.domain_id: one for one in adapter.adapt(TRAIN, VAL, ALL_ROUNDS, Keep.LAST)}
    assert sorted(adapted) == [0, 1, 2, 3]
    assert_close(named(model), shared)

    logits = predict(model, SharedParameters.of(model), VAL)
    specific = {domain: one.offsets[ROUNDS] for domain, one in adapted.items()}
    actual = predict_adapted(model, adapter.theta, VAL, specific, logits)
    for domain in range(4):
        expected = algorithm_2(model, domain, adapter.helpers)
        rows = VAL["domain_id"] == domain
        np.testing.assert_allclose(
            actual[rows], predict(expected, SharedParameters.of(expected), VAL)[rows], rtol=0, atol=1e-6
        )
        offsets = torch.cat([(named(expected)[n] - shared[n]).flatten() for n in adapter.theta.dense])
        torch.testing.assert_close(specific[domain].dense, offsets, rtol=0, atol=1e-6)
        for name, rows in specific[domain].rows.items():
            ids = specific[domain].ids[model.tables[name]]
            torch.testing.assert_close(rows, named(expected)[name][ids] - shared[name][ids], rtol=0, atol=1e-6)


def test_tables_in_the_files_of_two_ranks_give_what_whole_tables_give(model):
    theta = SharedParameters.of(model)
    stored = replace(theta, tables=dict(theta.tables))
    for name, table in theta.tables.items():
        if theta.vocabulary_of[name] != "domain_id":
            ids = torch.arange(len(table))
            shards = [(ids[rank::2].contiguous(), table[rank::2]) for rank in range(2)]
            stored.tables[name] = StoredTable(shards, tuple(table.shape), 0.0, 0, theta.like)
    helpers = HelperRows.of(TRAIN, 5, 0)
    adapted = []
    for one in (theta, stored):
        adapter = Adapter(model, one, helpers, SETTINGS)
        adapted.append(list(adapter.adapt(TRAIN, VAL, ALL_ROUNDS, Keep.LAST)))
        np.testing.assert_allclose(predict(model, one, VAL), predict(model, theta, VAL), rtol=0, atol=1e-9)
    for whole, other in zip(*adapted, strict=True):
        torch.testing.assert_close(whole.offsets[ROUNDS].dense, other.offsets[ROUNDS].dense, rtol=0, atol=1e-9)
        for name, rows in whole.offsets[ROUNDS].rows.items():
            torch.testing.assert_close(rows, other.offsets[ROUNDS].rows[name], rtol=0, atol=1e-9)


def test_a_domain_comes_out_alike_alone_and_beside_larger_ones(model):
    adapter = make_adapter(model)
    assert len({-(-rows // SETTINGS.dr_batch_size) for rows in np.bincount(TRAIN["domain_id"])}) > 1
    together = {one.domain_id: one for one in adapter.adapt(TRAIN, VAL, ALL_ROUNDS, Keep.LAST)}
    for domain in range(4):
        [alone] = adapter.adapt(TRAIN, VAL, {domain: ROUNDS}, Keep.LAST)
        torch.testing.assert_close(
            alone.offsets[ROUNDS].dense, together[domain].offsets[ROUNDS].dense, rtol=0, atol=1e-9
        )
        np.testing.assert_allclose(alone.val_auc, together[domain].val_auc)


def test_only_rows_of_the_domains_own_training_data_get_an_offset(model):
    [one] = make_adapter(model).adapt(TRAIN, VAL, {2: 1}, Keep.LAST)
    own = TRAIN["domain_id"] == 2
    for feature, ids in one.offsets[1].ids.items():
        assert ids.tolist() == np.unique(TRAIN[feature][own]).tolist()


def test_rounds_can_be_taken_one_after_the_other(model):
    adapter = make_adapter(model)
    [at_once] = adapter.adapt(TRAIN, VAL, {1: 2}, Keep.LAST)
    [first] = adapter.adapt(TRAIN, VAL, {1: 1}, Keep.LAST)
    [second] = adapter.adapt(TRAIN, VAL, {1: 1}, Keep.LAST, start={1: first.offsets[1]}, rounds_done=1)
    torch.testing.assert_close(at_once.offsets[2].dense, second.offsets[1].dense, rtol=0, atol=1e-12)


def test_a_domain_without_validation_rows_has_no_auc_and_one_without_training_rows_is_left_out(model):
    train = {name: column[TRAIN["domain_id"] != 3] for name, column in TRAIN.items()}
    val = {name: column[VAL["domain_id"] != 1] for name, column in VAL.items()}
    adapted = {
        one.domain_id: one
        for one in make_adapter(model, train=train).adapt(train, val, dict.fromkeys(range(4), 1), Keep.NONE)
    }
    assert sorted(adapted) == [0, 1, 2]
    assert np.isnan(adapted[1].val_auc).all()
    assert adapted[1].rows_val == 0


def test_helpers_are_other_domains_drawn_without_replacement():
    helpers = HelperRows.of(TRAIN, 5, 0)
    for seed in range(20):
        drawn = helpers.domain_ids[helpers.draw(2, 3, np.random.default_rng(seed))]
        assert sorted(drawn) == [0, 1, 3]
    assert len(helpers.draw(2, 9, np.random.default_rng(0))) == 3


def test_the_reservoir_is_the_same_from_any_order_of_rows_and_from_parts():
    shuffled = np.random.default_rng(0).permutation(60)
    whole = HelperRows.of(TRAIN, 5, 0)
    again = HelperRows.of({name: column[shuffled] for name, column in TRAIN.items()}, 5, 0)
    parts = [HelperRows.of({n: c[half] for n, c in TRAIN.items()}, 5, 0) for half in (slice(0, 25), slice(25, 60))]
    joined = HelperRows.of({n: np.concatenate([part.columns[n] for part in parts]) for n in TRAIN}, 5, 0)
    for other in (again, joined):
        for name, column in whole.columns.items():
            assert np.array_equal(column, other.columns[name])
    assert np.diff(whole.starts).max() <= 5


def test_helper_domains_are_chosen_by_seed_up_to_a_bound():
    ids = np.arange(50)
    assert choose_helper_domains(ids, 99, 0).tolist() == ids.tolist()
    chosen = [choose_helper_domains(ids, 10, seed).tolist() for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(set(chosen[0])) == 10


def test_as_many_domains_adapt_together_as_fit_into_a_step(monkeypatch):
    together = []
    monkeypatch.setattr("training.frameworks.specific.adapter.MOST_ROWS", 20)
    monkeypatch.setattr(Adapter, "_adapt_group", lambda self, domains, *_: together.append(domains) or [])
    sizes = [1, 3, 5, 6, 6, 9, 30]  # rows in a step: 5, 5, 5 for the helpers' five, 6, 6, 8, 8
    train = {**random_rows(sum(sizes), seed=1), "domain_id": np.repeat(np.arange(7), sizes)}
    adapter = make_adapter(small_model("mlp"), SETTINGS.replaced(dr_batch_size=8), train)
    assert list(adapter.adapt(train, VAL, dict.fromkeys(range(7), 1), Keep.NONE)) == []
    assert together == [[0, 1, 2], [3, 4], [5, 6]]


def test_groups_hold_domains_of_like_size():
    rows = np.array([5, 900, 7, 850, 6, 910])
    assert size_groups(rows, 3).tolist() == [0, 1, 0, 1, 0, 1]
    assert set(size_groups(rows, 200)) == {0}


def test_a_group_keeps_the_rounds_that_help_and_none_that_cost_or_are_noise():
    auc = np.array([0.5, 0.5, 0.5, 0.5])
    helps = np.stack([auc, auc + [0.02, 0.01, 0.03, 0.02], auc + [0.04, 0.03, 0.05, 0.04]], axis=1)
    costs = np.stack([auc, auc - 0.01, auc - 0.02], axis=1)
    noise = np.stack([auc, auc + [0.2, -0.19, 0.1, -0.1], auc - 0.1], axis=1)
    groups = np.repeat([0, 1, 2], 4)
    assert choose_rounds(groups, np.concatenate([helps, costs, noise])) == {0: 2, 1: 0, 2: 0}


def test_domains_without_an_auc_do_not_count_and_a_group_of_none_keeps_no_rounds():
    auc = np.array([[0.5, 0.6], [0.5, 0.62], [np.nan, np.nan], [np.nan, np.nan]])
    assert choose_rounds(np.array([0, 0, 0, 1]), auc) == {0: 1, 1: 0}
