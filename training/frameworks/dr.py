"""Domain Regularization (MAMDR, ICDE 2023, Algorithm 2), for many domains side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from training.adam import Moments
from training.batches import Rows
from training.helpers import Helpers
from training.parameters import Parameters
from training.specific import Group, group_logits


@dataclass(frozen=True, kw_only=True)
class DRSettings:
    inner_lr: float  # alpha
    outer_lr: float  # gamma
    helpers: int  # k
    batch_size: int
    seed: int


def regularize(
    model: nn.Module,
    theta: Parameters,
    group: Group,
    domains: Sequence[int],
    train: Rows,
    reservoir: tuple[Helpers, Rows],
    settings: DRSettings,
    turn: int,
) -> Group:
    """One round of Domain Regularization, Algorithm 2, for each of `domains`; theta^S stays as it is.

    Args:
        group: theta^i of the domains before the round.
        domains: their ids; all have the same number of batches of settings.batch_size rows in `train`.
        reservoir: the helper domains, and their rows.
        turn: the number of the round; (seed, domain, turn) decides helpers and order of rows.

    Returns:
        theta^i after the round. Its Adam moments start at zero and live for the round, each domain's its own.

    Line 4 is one step on a batch of the helper domain, line 5 a pass over the domain's own rows. A helper's row
    keeps its own domain id, and only rows of tables that occur in the target's training data get an offset.
    """
    rngs = [np.random.default_rng([settings.seed, domain, turn]) for domain in domains]
    helpers, helper_rows = reservoir
    drawn = [helpers.draw(domain, settings.helpers, rng) for domain, rng in zip(domains, rngs, strict=True)]  # line 1
    moments = Moments()
    torch.manual_seed(int(np.random.default_rng([settings.seed, domains[0], turn]).integers(2**62)))
    for slot in range(min(map(len, drawn))):  # line 2
        walker = group.replaced({name: value.clone() for name, value in group.tensors().items()})  # line 3
        of_helper = helper_rows.take([helpers.rows_of(places[slot]) for places in drawn])
        _step(model, theta, walker, of_helper, moments, settings.inner_lr)  # line 4
        for lines in _own_batches(domains, train, settings.batch_size, rngs):
            _step(model, theta, walker, train.take(lines), moments, settings.inner_lr)  # line 5
        for name, value in group.tensors().items():
            value.lerp_(walker.tensors()[name], settings.outer_lr)  # line 6
    return group


def _own_batches(
    domains: Sequence[int], train: Rows, batch_size: int, rngs: Sequence[np.random.Generator]
) -> list[list[np.ndarray]]:
    """A pass over each domain's rows in random order: for each step a batch of each domain."""
    orders = [rng.permutation(train.rows_of[domain]) for domain, rng in zip(domains, rngs, strict=True)]
    steps = -(-len(orders[0]) // batch_size)
    return [[order[step * batch_size : (step + 1) * batch_size] for order in orders] for step in range(steps)]


def _step(
    model: nn.Module,
    theta: Parameters,
    walker: Group,
    batch: tuple[dict[str, Tensor], Tensor, Tensor],
    moments: Moments,
    lr: float,
) -> None:
    """One Adam step on each domain's offsets by its own mean loss; the sum of the losses has the same gradients."""
    features, labels, weights = batch
    leaves = {name: value.detach().requires_grad_() for name, value in walker.tensors().items()}
    logits = group_logits(model, theta, walker.replaced(leaves), features)
    losses = binary_cross_entropy_with_logits(logits, labels, reduction="none")
    loss = ((losses * weights).sum(1) / weights.sum(1)).sum()
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    moments.begin_step()
    with torch.no_grad():
        for (name, value), gradient in zip(walker.tensors().items(), found, strict=True):
            if gradient is None:
                continue
            if name in walker.rows:
                gradient[:, -1] = 0
            moments.update_(name, value, gradient, lr)
