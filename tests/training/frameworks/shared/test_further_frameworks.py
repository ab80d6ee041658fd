"""Weighted loss, PCGrad, MAML, Reptile, MLDG and finetuning against plain loops, in float64 to 1e-6."""

import copy

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import binary_cross_entropy_with_logits

from tests.support.reference import (
    LEARNED,
    SIZES,
    SPECIFIC_SETTINGS,
    PlainAdam,
    assert_close,
    loss_of,
    named,
    random_rows,
    small_model,
    walk,
)
from training.config import FrameworkConfig, TrainingConfig
from training.data.domain_batches import domain_walk
from training.data.patch import Patch
from training.distributed.ranks import Ranks
from training.errors import UserError
from training.frameworks.inner_step import InnerOptimizer
from training.frameworks.registry import find_shared
from training.frameworks.round import RoundContext, in_groups
from training.frameworks.shared.pcgrad import projection_weights
from training.frameworks.specific.adapter import Adapter, Keep
from training.frameworks.specific.helper_rows import HelperRows
from training.parameters.shared import SharedParameters

LR = 0.01
ROWS = random_rows(40)
META_LR = 0.3


def learn(name, model, rounds=1, columns=ROWS, batch_size=8, **framework):
    """Trains `model` for some rounds over the same patch, which is returned."""
    theta = SharedParameters.of(model)
    patch = Patch(columns, theta.features_of, torch.device("cpu"), torch.float64)
    settings = FrameworkConfig(**{"outer_lr": 0.5, **framework}), TrainingConfig(batch_size=batch_size)
    run = RoundContext(InnerOptimizer(model, LR), *settings, Ranks(), np.random.default_rng(3))
    for _ in range(rounds):
        find_shared(name)(theta, patch, run)
    return patch


def run_rounds(name, start, rounds, **framework):
    """A trained copy of `start`, and a function that draws the units of a round's walk."""
    model = copy.deepcopy(start)
    patch = learn(name, model, rounds, **framework)
    return model, lambda rng: domain_walk(patch, 8, True, rng)


def functional_loss(model, parameters, rows):
    features = {name: torch.tensor(ROWS[name][rows]).long() for name in SIZES}
    logits = functional_call(model, parameters, (features,))
    return binary_cross_entropy_with_logits(logits, torch.tensor(ROWS["label"][rows]).double())


def gradients_of(loss, parameters, **options):
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True, **options)
    return dict(zip(parameters, found, strict=True))


def after_a_step(model, parameters, rows, second_order):
    gradients = gradients_of(functional_loss(model, parameters, rows), parameters, create_graph=second_order)
    return {name: value - META_LR * gradients[name] for name, value in parameters.items()}


def batches_of(units):
    return [rows for unit in units for rows in unit]


def test_weighted_loss_learns_an_uncertainty_by_domain():
    start = small_model(framework="weighted")
    trained, units = run_rounds("weighted", start, 2)
    expected, rng = copy.deepcopy(start), np.random.default_rng(3)
    adam = PlainAdam(expected, LR)
    for _ in range(2):
        for rows in batches_of(units(rng)):
            log_sigma = expected.log_sigma[torch.tensor(ROWS["domain_id"][rows]).long(), 0]
            losses = torch.stack([loss_of(expected, ROWS, [row]) for row in rows])
            adam.step((losses / log_sigma.exp() ** 2 + log_sigma).mean(), ROWS, rows)
    assert_close(named(trained), named(expected))
    assert (trained.log_sigma != 0).all()


def test_reptile_takes_an_outer_step_after_each_domain():
    start = small_model()
    trained, units = run_rounds("reptile", start, 2, outer_lr=0.3)
    expected, rng = copy.deepcopy(start), np.random.default_rng(3)
    for _ in range(2):
        for unit in units(rng):
            walked = walk(expected, ROWS, [unit], LR)
            for parameter, moved in zip(expected.parameters(), walked.parameters(), strict=True):
                parameter.data += 0.3 * (moved - parameter).detach()
    assert_close(named(trained), named(expected))


@pytest.mark.parametrize("second_order", [False, True])
def test_maml_steps_by_the_query_loss_after_a_step_on_the_support(second_order):
    start = small_model()
    trained, units = run_rounds("maml", start, 2, meta_lr=META_LR, meta_share=0.25, second_order=second_order)
    expected, rng = copy.deepcopy(start), np.random.default_rng(3)
    adam = PlainAdam(expected, LR)
    for _ in range(2):
        for rows in [rng.permutation(rows) for rows in batches_of(units(rng))]:
            cut = len(rows) - max(1, round(len(rows) / 4))
            parameters = dict(expected.named_parameters())
            ahead = after_a_step(expected, parameters, rows[:cut], second_order)
            adam.apply(gradients_of(functional_loss(expected, ahead, rows[cut:]), parameters), ROWS, rows)
    assert_close(named(trained), named(expected))


@pytest.mark.parametrize("second_order", [False, True])
def test_mldg_adds_the_loss_of_held_out_domains_after_a_step_on_the_others(second_order):
    start = small_model()
    trained, units = run_rounds("mldg", start, 2, meta_lr=META_LR, meta_share=0.5, second_order=second_order)
    expected, rng = copy.deepcopy(start), np.random.default_rng(3)
    adam = PlainAdam(expected, LR)
    for _ in range(2):
        for group in in_groups(batches_of(units(rng)), 2):
            train, test = np.concatenate(group[:-1]), group[-1]
            parameters = dict(expected.named_parameters())
            ahead = after_a_step(expected, parameters, train, second_order)
            loss = functional_loss(expected, parameters, train) + functional_loss(expected, ahead, test)
            adam.apply(gradients_of(loss, parameters), ROWS, np.concatenate(group))
    assert_close(named(trained), named(expected))


@pytest.mark.parametrize("second_order", [False, True])
def test_only_of_second_order_the_gradient_is_that_of_the_loss_after_the_step(second_order):
    """By central differences along one direction, which know nothing of derivatives."""
    model = small_model()
    parameters = {name: value.detach().requires_grad_() for name, value in model.named_parameters()}
    support, query = np.arange(10), np.arange(10, 16)
    direction = {name: torch.randn_like(value) for name, value in parameters.items()}

    def looked_ahead(shift):
        moved = {
            name: (value.detach() + shift * direction[name]).requires_grad_() for name, value in parameters.items()
        }
        return functional_loss(model, after_a_step(model, moved, support, False), query).item()

    numeric = (looked_ahead(1e-5) - looked_ahead(-1e-5)) / 2e-5
    ahead = after_a_step(model, parameters, support, second_order)
    found = gradients_of(functional_loss(model, ahead, query), parameters)
    analytic = sum((found[name] * direction[name]).sum() for name in found).item()
    assert (abs(analytic - numeric) < 1e-7) == second_order


def test_pcgrad_projects_gradients_that_conflict_and_only_those():
    start = small_model()
    trained, units = run_rounds("pcgrad", start, 2, pcgrad_domains=3)
    expected, rng = copy.deepcopy(start), np.random.default_rng(3)
    adam = PlainAdam(expected, LR)
    conflicts = agreements = 0
    for _ in range(2):
        for group in in_groups(batches_of(units(rng)), 3):
            parameters = dict(expected.named_parameters())
            original = [gradients_of(functional_loss(expected, parameters, rows), parameters) for rows in group]
            projected = [copy.copy(gradient) for gradient in original]
            for i, gradient in enumerate(projected):
                for j in rng.permutation(len(group)):
                    product = sum((gradient[name] * original[j][name]).sum() for name in gradient)
                    if j != i and product < 0:
                        square = sum((value**2).sum() for value in original[j].values())
                        for name in gradient:
                            gradient[name] = gradient[name] - product / square * original[j][name]
                    conflicts += int(j != i and product < 0)
                    agreements += int(j != i and product > 0)
            mean = {name: sum(gradient[name] for gradient in projected) / len(group) for name in parameters}
            adam.apply(mean, ROWS, np.concatenate(group))
    assert conflicts
    assert agreements
    assert_close(named(trained), named(expected))


def test_projection_weights_of_the_worked_example():
    gradients = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    weights = projection_weights(gradients @ gradients.T, np.random.default_rng(0))
    assert weights.tolist() == [1.0, 0.75]
    projected = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    assert torch.allclose(weights @ gradients, projected.mean(0))


def test_groups_leave_no_batch_alone():
    batches = [np.array([index]) for index in range(5)]
    assert [[int(rows[0]) for rows in group] for group in in_groups(batches, 2)] == [[0, 1], [2, 3, 4]]
    assert len(in_groups(batches[:1], 2)) == 1
    assert in_groups([], 2) == []


@pytest.mark.parametrize("name", ["maml", "mldg", "pcgrad", "reptile", "weighted"])
def test_a_patch_of_a_single_row_is_trained_on(name):
    model = small_model(framework=name)
    before = copy.deepcopy(model)
    learn(name, model, columns={column: values[:1] for column, values in ROWS.items()})
    assert not torch.equal(model.output.bias, before.output.bias)
    assert all(torch.isfinite(value).all() for value in named(model).values())


@pytest.mark.parametrize("name", LEARNED)
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_domains(name):
    model = small_model(framework=name)
    model.embeddings.item_id.weight.data[3] = float("nan")
    with pytest.raises(UserError, match=r"loss is nan in step 1, in a batch of domain_id \d"):
        learn(name, model, batch_size=40)


FINETUNE = SPECIFIC_SETTINGS.replaced(rounds=("dr", "finetune", "finetune"))


def test_finetuning_in_groups_is_a_pass_over_the_own_rows_of_one_domain_at_a_time():
    """After one round of DR, whose result is taken as given, two rounds of finetuning."""
    train, val = random_rows(60, seed=1), random_rows(30, seed=2)
    model = small_model()
    adapter = Adapter(model, SharedParameters.of(model), HelperRows.of(train, 5, 0), FINETUNE)
    for one in adapter.adapt(train, val, dict.fromkeys(range(4), 3), Keep.ALL):
        expected = copy.deepcopy(model)
        add_specific(expected, one.offsets[1], adapter.theta)
        for turn in (2, 3):
            own = np.flatnonzero(train["domain_id"] == one.domain_id)
            order = np.random.default_rng([5, one.domain_id, turn]).permutation(own)
            adam = PlainAdam(expected, FINETUNE.finetune_lr)
            for begin in range(0, len(order), 6):
                adam.step(loss_of(expected, train, order[begin : begin + 6]))
        actual = copy.deepcopy(model)
        add_specific(actual, one.offsets[3], adapter.theta)
        assert_close(named(actual), named(expected))


def add_specific(model, specific, theta):
    parameters = named(model)
    begin = 0
    for name in theta.dense:
        size = parameters[name].numel()
        parameters[name] += specific.dense[begin : begin + size].view(parameters[name].shape)
        begin += size
    for name, rows in specific.rows.items():
        parameters[name][specific.ids[theta.vocabulary_of[name]]] += rows
