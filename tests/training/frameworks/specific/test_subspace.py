"""theta^i as a mix of directions against a general optimiser, one domain at a time, in float64 to 1e-6."""

import copy

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from tests.support.reference import SPECIFIC_SETTINGS, loss_of, named, random_rows, small_model
from training.frameworks.specific.adapter import Adapter, Keep
from training.frameworks.specific.helper_rows import HelperRows
from training.frameworks.specific.subspace import most_probable
from training.frameworks.specific.subspace_directions import find_directions
from training.parameters.domain_offsets import unflatten
from training.parameters.shared import SharedParameters

ROUNDS = 3
SETTINGS = SPECIFIC_SETTINGS.replaced(rounds=("subspace",) * ROUNDS)
TRAIN, VAL = random_rows(60, seed=1), random_rows(30, seed=2)


def make_adapter(model, rank=3):
    adapter = Adapter(model, SharedParameters.of(model), HelperRows.of(TRAIN, 5, 0), SETTINGS)
    values = sum(value.numel() for value in adapter.theta.dense.values())
    adapter.directions = torch.randn(rank, values, dtype=torch.float64, generator=torch.manual_seed(0)) / 5
    return adapter


def logits_at(model, adapter, offset, columns, rows):
    """Returns the logits of theta^S plus a flat offset of the dense parameters."""
    moved = copy.deepcopy(model).eval()
    for name, value in unflatten(offset, adapter.theta).items():
        named(moved)[name].add_(value)
    with torch.no_grad():
        return moved({name: torch.tensor(columns[name][rows]).long() for name in columns if name != "label"}).numpy()


@pytest.mark.parametrize("name", ["mlp", "deepfm", "star"])
def test_each_domain_gets_its_most_probable_coordinates(name):
    model = small_model(name)
    loss_of(model, TRAIN, np.arange(60))  # gives it statistics, if it has any
    adapter = make_adapter(model)
    for adapted in adapter.adapt(TRAIN, VAL, dict.fromkeys(range(4), ROUNDS), Keep.ALL):
        own_rows = np.flatnonzero(TRAIN["domain_id"] == adapted.domain_id)
        rows = np.random.default_rng([5, adapted.domain_id, 1]).permutation(own_rows)[: SETTINGS.subspace_rows]
        sides = [
            [logits_at(model, adapter, sign * direction, TRAIN, rows) for sign in (1, -1)]
            for direction in adapter.directions
        ]
        slopes = np.stack([(ahead - behind) / 2 for ahead, behind in sides], axis=1)
        start = logits_at(model, adapter, 0 * adapter.directions[0], TRAIN, rows)
        for round_number, offset in adapted.offsets.items():

            def improbability(z, variance=10 ** ((round_number - 1) / 2), start=start, slopes=slopes, rows=rows):
                logits = start + slopes @ z
                loss = np.logaddexp(0, logits) - TRAIN["label"][rows] * logits
                return loss.sum() + z @ z / variance / 2

            z = minimize(improbability, np.zeros(3), method="BFGS", options={"gtol": 1e-9}).x
            assert torch.allclose(offset.dense, torch.tensor(z) @ adapter.directions, rtol=0, atol=1e-6)
            assert all(not rows.any() for rows in offset.rows.values())
        assert list(adapted.offsets) == list(range(1, ROUNDS + 1))


@pytest.mark.parametrize("name", ["mlp", "deepfm", "star"])
def test_later_rounds_move_farther(name):
    adapter = make_adapter(small_model(name))
    for adapted in adapter.adapt(TRAIN, VAL, dict.fromkeys(range(4), ROUNDS), Keep.ALL):
        lengths = [offset.dense.norm().item() for offset in adapted.offsets.values()]
        assert (np.diff(lengths) > 0).all()


def test_subspace_without_directions_is_an_error():
    adapter = make_adapter(small_model())
    adapter.directions = None
    with pytest.raises(ValueError, match=r"needs directions: set Adapter\.directions"):
        list(adapter.adapt(TRAIN, VAL, {0: 1}, Keep.NONE))


def test_rows_with_weight_zero_are_ignored():
    generator = torch.manual_seed(1)
    slopes, logits = torch.randn(2, 9, 3, generator=generator), torch.randn(2, 9, generator=generator)
    labels, weights = (logits > 0).float(), torch.ones(2, 9)
    weights[1, 4:] = 0
    both = most_probable(slopes, logits, labels, weights, 0.5)
    alone = most_probable(slopes[1:, :4], logits[1:, :4], labels[1:, :4], weights[1:, :4], 0.5)
    assert torch.allclose(both[1:], alone, rtol=0, atol=1e-12)


def test_domain_with_one_class_gets_finite_coordinates():
    z = most_probable(torch.full((1, 3, 2), 5.0), torch.zeros(1, 3), torch.ones(1, 3), torch.ones(1, 3), 0.01)
    assert torch.isfinite(z).all()
    assert (z > 0).all()


def test_directions_have_the_covariance_of_the_offsets():
    offsets = torch.randn(5, 7, dtype=torch.float64, generator=torch.manual_seed(2))
    rows = torch.tensor([10.0, 20, 30, 40, 100], dtype=torch.float64)
    covariance = sum(rows[domain] / 200 * torch.outer(offsets[domain], offsets[domain]) for domain in range(5))
    directions = find_directions(offsets, rows, 9)
    assert directions.shape == (5, 7)
    assert torch.allclose(directions.T @ directions, covariance, rtol=0, atol=1e-12)
    assert torch.allclose(find_directions(offsets, rows, 2).abs(), directions[:2].abs(), rtol=0, atol=1e-12)
