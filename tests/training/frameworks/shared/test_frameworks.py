"""The frameworks on one rank against plain loops, in float64 to 1e-6."""

import copy

import numpy as np
import pytest
import torch

from tests.support.reference import LEARNED, PlainAdam, assert_close, loss_of, named, random_rows, small_model, walk
from training.config import FrameworkConfig, TrainingConfig
from training.data.domain_batches import domain_walk, shuffled_batches
from training.data.patch import Patch
from training.distributed.ranks import Ranks
from training.frameworks.inner_step import InnerOptimizer
from training.frameworks.registry import find_shared
from training.frameworks.round import RoundContext
from training.models import MODELS
from training.parameters.shared import SharedParameters

LR = 0.01
ROWS = random_rows(40)


def run_rounds(framework, model, rounds, settings, columns=ROWS):
    """Trains a copy of `model` for some rounds over the same patch."""
    model = copy.deepcopy(model)
    theta = SharedParameters.of(model)
    patch = Patch(columns, theta.features_of, torch.device("cpu"), torch.float64)
    inner = InnerOptimizer(model, LR)
    rng = np.random.default_rng(3)
    for _ in range(rounds):
        find_shared(framework)(theta, patch, RoundContext(inner, *settings, Ranks(), rng))
    return model, patch


def settings_of(pack=True, **framework):
    return FrameworkConfig(**{"outer_lr": 0.5, **framework}), TrainingConfig(batch_size=8, pack=pack)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("pack", [False, True])
def test_dn_on_one_rank_is_algorithm_1(name, pack):
    settings = settings_of(pack=pack, outer_lr=0.3)
    start = small_model(name)
    trained, patch = run_rounds("dn", start, 3, settings)

    expected, rng = copy.deepcopy(start), np.random.default_rng(3)
    for _ in range(3):
        walker = walk(expected, ROWS, domain_walk(patch, 8, pack, rng), LR)
        for name, value in named(expected).items():
            value += 0.3 * (named(walker)[name] - value)
    assert_close(named(trained), named(expected))
    for before, after in zip(start.parameters(), trained.parameters(), strict=True):
        assert not torch.equal(before, after)


@pytest.mark.parametrize("framework", ["joint", "alternate"])
def test_joint_and_alternate_are_plain_loops_that_keep_their_moments(framework):
    settings = settings_of(pack=True, outer_lr=1.0)
    start = small_model()
    trained, patch = run_rounds(framework, start, 2, settings)

    expected, rng = copy.deepcopy(start), np.random.default_rng(3)
    adam = PlainAdam(expected, LR)
    for _ in range(2):
        if framework == "joint":
            units = [shuffled_batches(len(ROWS["label"]), 8, rng)]
        else:
            units = domain_walk(patch, 8, True, rng)
        for unit in units:
            for rows in unit:
                adam.step(loss_of(expected, ROWS, rows), ROWS, rows)
    assert_close(named(trained), named(expected))


@pytest.mark.parametrize("framework", ["joint", "alternate", "dn"])
def test_rows_of_tables_that_do_not_occur_stay_as_they_were(framework):
    columns = {**ROWS, "user_id": ROWS["user_id"] % 2}
    start = small_model()
    trained, _ = run_rounds(framework, start, 1, settings_of(pack=True, outer_lr=0.5), columns)
    before, after = (model.embeddings.user_id.weight.detach() for model in (start, trained))
    assert torch.equal(before[2:], after[2:])
    assert not torch.equal(before[:2], after[:2])


def test_frozen_vectors_stay_as_they_were():
    vectors = {"user_id": torch.randn(7, 2)}
    start = small_model(vectors=vectors)
    trained, _ = run_rounds("dn", start, 1, settings_of(pack=True, outer_lr=0.5))
    assert torch.equal(trained.embeddings.user_id.weight, start.embeddings.user_id.weight)
    assert not torch.equal(trained.embeddings.item_id.weight, start.embeddings.item_id.weight)


def test_progress_counts_every_row():
    for name in LEARNED:
        model = small_model(framework=name)
        theta = SharedParameters.of(model)
        patch = Patch(ROWS, theta.features_of, torch.device("cpu"), torch.float64)
        seen = []
        run = RoundContext(InnerOptimizer(model, LR, seen.append), *settings_of(), Ranks(), np.random.default_rng(0))
        find_shared(name)(theta, patch, run)
        assert sum(seen) == patch.rows
