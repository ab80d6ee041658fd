"""Holds every framework for theta^S to the rules that all of them share."""

import numpy as np
import pytest
import torch

from tests.support.reference import LEARNED, LR, ROWS, named, small_model, train_rounds
from training.config import FrameworkConfig, TrainingConfig
from training.data.patch import Patch
from training.distributed.ranks import Ranks
from training.errors import UserError
from training.frameworks.common.inner_step import InnerOptimizer
from training.frameworks.common.registry import find_shared
from training.frameworks.common.round import RoundContext
from training.parameters.shared import SharedParameters


@pytest.mark.parametrize("framework", LEARNED)
def test_table_rows_outside_the_patch_stay_unchanged(framework):
    columns = {**ROWS, "user_id": ROWS["user_id"] % 2}
    start = small_model(framework=framework)
    trained, _ = train_rounds(framework, start, columns=columns)
    before, after = (model.embeddings.user_id.weight.detach() for model in (start, trained))
    assert torch.equal(before[2:], after[2:])
    assert not torch.equal(before[:2], after[:2])


@pytest.mark.parametrize("framework", LEARNED)
def test_frozen_vectors_stay_unchanged(framework):
    start = small_model(vectors={"user_id": torch.randn(7, 2)}, framework=framework)
    trained, _ = train_rounds(framework, start)
    assert torch.equal(trained.embeddings.user_id.weight, start.embeddings.user_id.weight)
    assert not torch.equal(trained.embeddings.item_id.weight, start.embeddings.item_id.weight)


@pytest.mark.parametrize("framework", LEARNED)
def test_progress_counts_every_row_once(framework):
    model = small_model(framework=framework)
    theta = SharedParameters.of(model)
    patch = Patch(ROWS, theta.features_of, torch.device("cpu"), torch.float64)
    counts = []
    settings = FrameworkConfig(outer_lr=0.5), TrainingConfig(batch_size=8)
    context = RoundContext(InnerOptimizer(model, LR, counts.append), *settings, Ranks(), np.random.default_rng(0))
    find_shared(framework)(theta, patch, context)
    assert sum(counts) == patch.rows


@pytest.mark.parametrize("framework", LEARNED)
def test_patch_of_a_single_row_is_trained_on(framework):
    start = small_model(framework=framework)
    trained, _ = train_rounds(framework, start, columns={column: values[:1] for column, values in ROWS.items()})
    assert not torch.equal(trained.output.bias, start.output.bias)
    assert all(torch.isfinite(value).all() for value in named(trained).values())


@pytest.mark.parametrize("framework", LEARNED)
def test_loss_that_is_not_finite_stops_the_run_and_names_domains(framework):
    model = small_model(framework=framework)
    model.embeddings.item_id.weight.data[3] = float("nan")
    with pytest.raises(UserError, match=r"loss is nan in step 1, in a batch of domain_id \d"):
        train_rounds(framework, model, batch_size=40)
