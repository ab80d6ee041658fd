"""Plain versions of the algorithms, a few lines each, to which the tests compare the real ones."""

import copy
from contextlib import nullcontext

import numpy as np
import torch
from torch.func import functional_call
from torch.nn.functional import binary_cross_entropy_with_logits

from training.config import FrameworkConfig, ModelConfig, TrainingConfig
from training.config.framework_settings import FrameworkSettings
from training.config.frameworks import SHARED
from training.data.patch import Patch
from training.data.schema import Schema
from training.distributed.ranks import Ranks
from training.frameworks.common.inner_step import FEWEST_ROWS, InnerOptimizer
from training.frameworks.common.registry import find_shared, prepare
from training.frameworks.common.round import RoundContext
from training.models import build_model
from training.parameters.frozen_statistics import frozen_statistics
from training.parameters.shared import SharedParameters

SIZES = {"user_id": 7, "item_id": 6, "domain_id": 4}
LR = 0.01

SCHEMA = Schema.of(SIZES)
SPECIFIC_SETTINGS = FrameworkSettings(
    rounds=(), dr_inner_lr=0.01, dr_lr=0.4, finetune_lr=0.02, subspace_rows=12, helpers=2, dr_batch_size=6, seed=5
)
LEARNED = [name for name in SHARED if name != "none"]


def small_config(name, **settings):
    """Returns the settings of a small backbone."""
    sizes = {"embedding_dim": 3, "hidden": [5, 4], "tower": [3], "specific_experts": 2, "heads": 2}
    return ModelConfig(name=name, **{**sizes, **settings})


def small_model(name="mlp", seed=0, vectors=None, dropout=0.0, framework="joint"):
    """Returns a small backbone in float64, prepared for a framework."""
    model = build_model(small_config(name, dropout=dropout), SCHEMA, seed, vectors)
    prepare(model, SCHEMA, FrameworkConfig(shared=framework))
    return model.double()


def random_rows(rows, seed=0, domains=(0, 1, 2, 3)):
    """Returns columns as the reader does, sorted by domain."""
    rng = np.random.default_rng(seed)
    return {
        "domain_id": np.sort(rng.choice(domains, rows)).astype(np.int32),
        "user_id": rng.integers(SIZES["user_id"], size=rows),
        "item_id": rng.integers(SIZES["item_id"], size=rows),
        "label": rng.integers(2, size=rows).astype(np.float32),
    }


ROWS = random_rows(40)


def train_rounds(framework, model, rounds=1, columns=ROWS, batch_size=8, pack=True, **settings):
    """Trains a copy of `model` for some rounds over the same patch, with seed 3; returns the copy and the patch."""
    model = copy.deepcopy(model)
    theta = SharedParameters.of(model)
    patch = Patch(columns, theta.features_of, torch.device("cpu"), torch.float64)
    context = RoundContext(
        InnerOptimizer(model, LR),
        FrameworkConfig(**{"outer_lr": 0.5, **settings}),
        TrainingConfig(batch_size=batch_size, pack=pack),
        Ranks(),
        np.random.default_rng(3),
    )
    for _ in range(rounds):
        find_shared(framework)(theta, patch, context)
    return model, patch


def loss_of(model, columns, rows):
    """Returns the mean loss of rows. Few rows leave statistics alone."""
    with frozen_statistics(model) if len(rows) < FEWEST_ROWS else nullcontext():
        return functional_loss(model, {}, columns, rows)


def functional_loss(model, parameters, columns, rows):
    """Returns the mean loss of rows, with other values for some parameters."""
    features = {name: torch.tensor(columns[name][rows]).long() for name in SIZES}
    logits = functional_call(model, parameters, (features,))
    return binary_cross_entropy_with_logits(logits, torch.tensor(columns["label"][rows]).double())


def gradients_of(loss, parameters, **options):
    """Returns the gradient of each parameter, zero where the loss does not depend on it."""
    values = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True, **options)
    return dict(zip(parameters, values, strict=True))


class PlainAdam:
    """Adam on all parameters of a module. In an embedding table it skips rows that are not in the batch."""

    def __init__(self, model, lr):
        self.model, self.lr, self.step_count = model, lr, 0
        self.moments = {name: (0 * p.detach(), 0 * p.detach()) for name, p in model.named_parameters()}

    def step(self, loss, columns=None, rows=None):
        """Takes one step to reduce the loss."""
        self.model.zero_grad()
        loss.backward()
        self.apply({name: p.grad for name, p in self.model.named_parameters() if p.grad is not None}, columns, rows)

    def apply(self, gradients, columns=None, rows=None):
        """Takes one step by given gradients. With columns and rows of a batch, skips table rows outside of it."""
        self.step_count += 1
        for name, parameter in self.model.named_parameters():
            if name not in gradients:
                continue
            touched = torch.ones(len(parameter), dtype=torch.bool)
            if columns is not None and name in self.model.tables:
                touched[:] = False
                touched[torch.tensor(columns[self.model.tables[name]][rows]).long()] = True
            m, v = self.moments[name]
            g = gradients[name]
            m[touched] = (0.9 * m + 0.1 * g)[touched]
            v[touched] = (0.999 * v + 0.001 * g * g)[touched]
            mean = m / (1 - 0.9**self.step_count)
            scale = (v / (1 - 0.999**self.step_count)).sqrt() + 1e-8
            with torch.no_grad():
                parameter[touched] -= (self.lr * mean / scale)[touched]


def walk(model, columns, domains, lr):
    """Returns a copy of the model after lines 2 to 6 of Algorithm 1; `domains` are lists of batches."""
    walker = copy.deepcopy(model)
    adam = PlainAdam(walker, lr)
    for batches in domains:
        for rows in batches:
            adam.step(loss_of(walker, columns, rows), columns, rows)
    return walker


def named(model):
    """Returns parameters and statistics by name."""
    return model.state_dict()


def assert_close(actual, expected):
    """Asserts that named tensors agree to 1e-6."""
    assert set(actual) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(
            actual[name], value, rtol=0, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )
