"""Modules of other libraries and of users train under every framework, unchanged."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.reference import LEARNED, SCHEMA, SPECIFIC_SETTINGS, named, random_rows, small_model
from training.config import FrameworkConfig, ModelConfig, TrainingConfig
from training.data.patch import Patch
from training.distributed.ranks import Ranks
from training.errors import UserError
from training.frameworks.common.inner_step import InnerOptimizer
from training.frameworks.common.registry import find_shared
from training.frameworks.common.round import RoundContext
from training.frameworks.specific.adapter import Adapter, Keep
from training.frameworks.specific.helper_rows import HelperRows
from training.models import build_model
from training.parameters.forward import predict
from training.parameters.shared import SharedParameters

RECHUB = "tests.support.rechub:RechubDCN"
TRAIN, VAL = random_rows(120, seed=1), random_rows(60, seed=2)
TRAIN["label"] = (TRAIN["item_id"] < 3).astype(np.float32)


@pytest.mark.parametrize("framework", LEARNED)
def test_model_of_another_library_learns_under_every_framework(framework):
    model = small_model(RECHUB, framework=framework)
    before = copy.deepcopy(model)
    theta = SharedParameters.of(model)
    patch = Patch(TRAIN, theta.features_of, torch.device("cpu"), torch.float64)
    settings = FrameworkConfig(outer_lr=0.5), TrainingConfig(batch_size=17)
    context = RoundContext(InnerOptimizer(model, 0.01), *settings, Ranks(), np.random.default_rng(0))
    loss = mean_loss(model, TRAIN)
    for _ in range(20):
        model.train()
        find_shared(framework)(theta, patch, context)
    assert mean_loss(model, TRAIN) < 0.9 * loss
    assert all(not torch.equal(value, named(before)[name]) for name, value in named(model).items())
    moved = [name for name, value in model.named_buffers() if not torch.equal(value, before.get_buffer(name))]
    assert {name.rpartition(".")[2] for name in moved} >= {"running_mean", "running_var"}


@pytest.mark.parametrize("kind", ["dr", "finetune", "subspace"])
def test_adaptation_does_not_change_batch_statistics(kind):
    model = small_model(RECHUB, dropout=0.2)
    statistics = {name: value.clone() for name, value in model.named_buffers()}
    settings = SPECIFIC_SETTINGS.replaced(rounds=(kind,) * 2, dr_batch_size=16)
    adapter = Adapter(model, SharedParameters.of(model), HelperRows.of(TRAIN, 8, 0), settings)
    values = sum(value.numel() for value in adapter.theta.dense.values())
    adapter.directions = torch.randn(3, values, dtype=torch.float64, generator=torch.manual_seed(0)) / 10
    adapted = list(adapter.adapt(TRAIN, VAL, dict.fromkeys(range(4), 2), Keep.LAST))
    assert len(adapted) == 4
    assert all(result.offsets[2].dense.abs().max() > 0 for result in adapted)
    assert all(torch.equal(value, statistics[name]) for name, value in model.named_buffers())


def mean_loss(model, columns):
    logits = torch.from_numpy(predict(model, SharedParameters.of(model), columns))
    return nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(columns["label"]).double()).item()


class WrongShape(nn.Module):
    def __init__(self, config, schema, vectors):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))

    def forward(self, features):
        return self.weight[None].expand(len(features["user_id"]), 3)


class NoParameters(nn.Module):
    def __init__(self, config, schema, vectors):
        super().__init__()
        self.layer = [nn.Linear(1, 1)]

    def forward(self, features):
        return features["user_id"].float()


class WrongTable(NoParameters):
    tables = {"users.weight": "user_id"}

    def __init__(self, config, schema, vectors):
        super().__init__(config, schema, vectors)
        self.users = nn.Embedding(3, 1)


class FlatTable(NoParameters):
    tables = {"bias": "user_id"}

    def __init__(self, config, schema, vectors):
        super().__init__(config, schema, vectors)
        self.bias = nn.Parameter(torch.zeros(schema.sizes["user_id"]))


class NoTables(NoParameters):
    """Does not declare its embedding table, which is trained like a dense parameter."""

    def __init__(self, config, schema, vectors):
        super().__init__(config, schema, vectors)
        self.users = nn.Embedding(schema.sizes["user_id"], 1)

    def forward(self, features):
        return self.users(features["user_id"]).squeeze(-1)


class OnlyTables(NoTables):
    tables = {"users.weight": "user_id"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("WrongShape", r"returns shape \(2, 3\) for two rows, but must return one logit a row"),
        ("NoParameters", "has no parameters to train"),
        ("WrongTable", 'tables names "users.weight" with ids of "user_id", .* a row for each of 7 ids'),
        ("FlatTable", 'tables names "bias" with ids of "user_id", which must be a two-dimensional parameter'),
        ("Missing", 'model.name ".*Missing" does not exist: choose one of mlp, .*import path'),
    ],
)
def test_unsuitable_module_is_rejected_before_training(name, message):
    with pytest.raises(UserError, match=message):
        build_model(ModelConfig(name=f"{__name__}:{name}"), SCHEMA, 0)


@pytest.mark.parametrize("name", ["NoTables", "OnlyTables"])
@pytest.mark.parametrize("framework", ["joint", "dn", "pcgrad", "reptile"])
def test_module_may_have_only_tables_or_declare_none(name, framework):
    model = build_model(ModelConfig(name=f"{__name__}.{name}"), SCHEMA, 0)
    theta = SharedParameters.of(model)
    before = model.users.weight.detach().clone()
    patch = Patch(TRAIN, theta.features_of, torch.device("cpu"), torch.float32)
    settings = FrameworkConfig(outer_lr=0.5), TrainingConfig(batch_size=16)
    context = RoundContext(InnerOptimizer(model, 0.01), *settings, Ranks(), np.random.default_rng(0))
    find_shared(framework)(theta, patch, context)
    assert not torch.equal(model.users.weight, before)
