"""Adaptation of many domains in groups, by the example of DR."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.reference import SPECIFIC_SETTINGS, loss_of, random_rows, small_model
from training.frameworks.specific.adapter import Adapter, Keep
from training.frameworks.specific.helper_rows import HelperRows
from training.parameters.forward import predict
from training.parameters.remote_tables import StoredTable
from training.parameters.shared import SharedParameters

ROUNDS = 2
SETTINGS = SPECIFIC_SETTINGS.replaced(rounds=("dr",) * ROUNDS)
TRAIN, VAL = random_rows(60, seed=1), random_rows(30, seed=2)
ALL_DOMAINS = dict.fromkeys(range(4), ROUNDS)


@pytest.fixture(params=["mlp", "deepfm", "star"])
def model(request):
    model = small_model(request.param)
    loss_of(model, TRAIN, np.arange(60))  # gives it statistics, if it has any
    return model


def make_adapter(model, settings=SETTINGS, train=TRAIN):
    return Adapter(model, SharedParameters.of(model), HelperRows.of(train, 5, 0), settings)


def test_tables_in_files_of_two_ranks_give_the_same_offsets(model):
    theta = SharedParameters.of(model)
    stored = replace(theta, tables=dict(theta.tables))
    for name, table in theta.tables.items():
        if theta.vocabulary_of[name] != "domain_id":
            ids = torch.arange(len(table))
            shards = [(ids[rank::2].contiguous(), table[rank::2]) for rank in range(2)]
            stored.tables[name] = StoredTable(shards, tuple(table.shape), 0.0, 0, theta.like)
    helpers = HelperRows.of(TRAIN, 5, 0)
    results = []
    for parameters in (theta, stored):
        adapter = Adapter(model, parameters, helpers, SETTINGS)
        results.append(list(adapter.adapt(TRAIN, VAL, ALL_DOMAINS, Keep.LAST)))
        np.testing.assert_allclose(predict(model, parameters, VAL), predict(model, theta, VAL), rtol=0, atol=1e-9)
    for in_memory, in_files in zip(*results, strict=True):
        expected, actual = in_memory.offsets[ROUNDS], in_files.offsets[ROUNDS]
        torch.testing.assert_close(actual.dense, expected.dense, rtol=0, atol=1e-9)
        for name, rows in expected.rows.items():
            torch.testing.assert_close(actual.rows[name], rows, rtol=0, atol=1e-9)


def test_result_of_a_domain_does_not_depend_on_its_group(model):
    adapter = make_adapter(model)
    assert len({-(-rows // SETTINGS.dr_batch_size) for rows in np.bincount(TRAIN["domain_id"])}) > 1
    together = {result.domain_id: result for result in adapter.adapt(TRAIN, VAL, ALL_DOMAINS, Keep.LAST)}
    for domain, in_group in together.items():
        [alone] = adapter.adapt(TRAIN, VAL, {domain: ROUNDS}, Keep.LAST)
        torch.testing.assert_close(alone.offsets[ROUNDS].dense, in_group.offsets[ROUNDS].dense, rtol=0, atol=1e-9)
        np.testing.assert_allclose(alone.val_auc, in_group.val_auc)


def test_only_ids_in_the_domains_training_rows_get_an_offset(model):
    [adapted] = make_adapter(model).adapt(TRAIN, VAL, {2: 1}, Keep.LAST)
    own_rows = TRAIN["domain_id"] == 2
    for feature, ids in adapted.offsets[1].ids.items():
        assert ids.tolist() == np.unique(TRAIN[feature][own_rows]).tolist()


def test_adaptation_continues_from_earlier_offsets(model):
    adapter = make_adapter(model)
    [at_once] = adapter.adapt(TRAIN, VAL, {1: 2}, Keep.LAST)
    [first] = adapter.adapt(TRAIN, VAL, {1: 1}, Keep.LAST)
    [second] = adapter.adapt(TRAIN, VAL, {1: 1}, Keep.LAST, start={1: first.offsets[1]}, rounds_done=1)
    torch.testing.assert_close(at_once.offsets[2].dense, second.offsets[1].dense, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("keep", "expected"), [(Keep.NONE, []), (Keep.LAST, [2]), (Keep.ALL, [1, 2])])
def test_offsets_are_returned_after_the_rounds_to_keep(keep, expected):
    [adapted] = make_adapter(small_model()).adapt(TRAIN, VAL, {1: 2}, keep)
    assert list(adapted.offsets) == expected


def test_domains_without_training_rows_are_skipped(model):
    train = {name: column[TRAIN["domain_id"] != 3] for name, column in TRAIN.items()}
    results = make_adapter(model, train=train).adapt(train, VAL, dict.fromkeys(range(4), 1), Keep.NONE)
    assert sorted(result.domain_id for result in results) == [0, 1, 2]


def test_domain_without_validation_rows_has_no_auc(model):
    val = {name: column[VAL["domain_id"] != 1] for name, column in VAL.items()}
    [adapted] = make_adapter(model).adapt(TRAIN, val, {1: 1}, Keep.NONE)
    assert np.isnan(adapted.val_auc).all()
    assert adapted.rows_val == 0


def test_groups_fit_into_a_step(monkeypatch):
    groups = []
    monkeypatch.setattr("training.frameworks.specific.adapter.MOST_ROWS", 20)
    monkeypatch.setattr(Adapter, "_adapt_group", lambda self, domains, *_: groups.append(domains) or [])
    sizes = [1, 3, 5, 6, 6, 9, 30]  # rows in a step: 5, 5, 5 for the helpers' five, 6, 6, 8, 8
    train = {**random_rows(sum(sizes), seed=1), "domain_id": np.repeat(np.arange(7), sizes)}
    adapter = make_adapter(small_model("mlp"), SETTINGS.replaced(dr_batch_size=8), train)
    assert list(adapter.adapt(train, VAL, dict.fromkeys(range(7), 1), Keep.NONE)) == []
    assert groups == [[0, 1, 2], [3, 4], [5, 6]]
