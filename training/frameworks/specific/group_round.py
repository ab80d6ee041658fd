"""Offers what a framework for theta^i works with in a round: a group of domains side by side, and their rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from training.data.domain_rows import DomainRows
from training.errors import UserError
from training.frameworks.specific.helper_rows import HelperRows
from training.parameters.adam import adam_, bias_corrected
from training.parameters.domain_offsets import OffsetGroup
from training.parameters.forward import group_logits

if TYPE_CHECKING:
    from training.config.framework_settings import FrameworkSettings
    from training.parameters.shared import SharedParameters

Lines = tuple[dict[str, Tensor], Tensor, Tensor]  # features, labels and weights, with a line of rows for each domain


@dataclass
class GroupContext:
    """Holds what a framework needs in a round, and offers the steps that frameworks share.

    Attributes:
        model: the backbone.
        theta: theta^S, which does not change.
        domains: the domain_ids of the group, in the order of their numbers of rows in `train`, smallest first.
        train: the training rows.
        helpers: the helper domains.
        helper_rows: their rows.
        directions: see subspace_directions.py; None for other frameworks.
        settings: how theta^i is learned.
        round_number: counts from 1. All random draws for a domain depend on (seed, domain, round_number) alone.
        memory: anything that a framework saves for later rounds of this group.
    """

    model: nn.Module
    theta: "SharedParameters"
    domains: Sequence[int]
    train: DomainRows
    helpers: HelperRows
    helper_rows: DomainRows
    directions: Tensor | None
    settings: "FrameworkSettings"
    round_number: int
    memory: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def _rngs(self) -> list[np.random.Generator]:
        return [np.random.default_rng([self.settings.seed, domain, self.round_number]) for domain in self.domains]

    def seed_dropout(self) -> None:
        """Seeds torch, so that dropout depends on the round and the first domain alone."""
        first = np.random.default_rng([self.settings.seed, self.domains[0], self.round_number])
        torch.manual_seed(int(first.integers(2**62)))

    def helper_batches(self) -> Iterator[Lines]:
        """Draws k helper domains for each domain, and yields k batches with the rows of one helper per domain."""
        drawn = [
            self.helpers.draw(domain, self.settings.helpers, rng)
            for domain, rng in zip(self.domains, self._rngs, strict=True)
        ]
        for slot in range(min(map(len, drawn))):
            yield self.helper_rows.take([self.helpers.rows_of(indices[slot]) for indices in drawn])

    def own_sample(self) -> Lines:
        """Draws at most settings.subspace_rows training rows of each domain."""
        return self.train.take(
            [
                rng.permutation(self.train.rows_of[domain])[: self.settings.subspace_rows]
                for domain, rng in zip(self.domains, self._rngs, strict=True)
            ]
        )

    def own_batches(self) -> Iterator[Lines]:
        """Yields batches that pass once over each domain's training rows, in random order.

        Each batch holds rows of all domains that have rows left: the last domains of the group, since they are larger.
        """
        size = self.settings.dr_batch_size
        orders = [
            rng.permutation(self.train.rows_of[domain]) for domain, rng in zip(self.domains, self._rngs, strict=True)
        ]
        for begin in range(0, len(orders[-1]), size):
            yield self.train.take([order[begin : begin + size] for order in orders if begin < len(order)])

    def step(self, group: OffsetGroup, batch: Lines, moments: "GroupMoments", lr: float) -> None:
        """Takes one Adam step on the offsets of all domains with rows in `batch`, in place.

        These are the last domains of the group. Each is moved by its own mean loss. The sum of the losses has the same
        gradients.

        Args:
            group: theta^i of all domains of the group.
            batch: as from `own_batches`.
            moments: Adam's moments of the group.
            lr: the learning rate.

        Raises:
            UserError: a loss is NaN or infinite.
        """
        features, labels, weights = batch
        group, domains = group.last(len(labels)), self.domains[-len(labels) :]
        leaves = {name: value.detach().requires_grad_() for name, value in group.tensors().items()}
        logits = group_logits(self.model, self.theta, group.with_tensors(leaves), features)
        losses = binary_cross_entropy_with_logits(logits, labels, reduction="none")
        by_domain = (losses * weights).sum(1) / weights.sum(1)
        if not torch.isfinite(by_domain).all():
            domain = domains[int(torch.isfinite(by_domain).logical_not().nonzero()[0])]
            raise UserError(
                f"loss of theta^i of domain_id {domain} is not finite in round {self.round_number}: "
                "try a lower framework.dr_inner_lr"
            )
        values = torch.autograd.grad(by_domain.sum(), list(leaves.values()), allow_unused=True)
        gradients = {name: value for name, value in zip(leaves, values, strict=True) if value is not None}
        for name in gradients.keys() & group.rows.keys():
            gradients[name][:, -1] = 0
        moments.step_(group, gradients, lr)


class GroupMoments:
    """Holds Adam's moments of a group, which start at zero. Each domain counts its own steps."""

    def __init__(self, group: OffsetGroup) -> None:
        self._first = {name: torch.zeros_like(value) for name, value in group.tensors().items()}
        self._second = {name: torch.zeros_like(value) for name, value in group.tensors().items()}
        self._steps = np.zeros(len(group))

    @torch.no_grad()
    def step_(self, group: OffsetGroup, gradients: dict[str, Tensor], lr: float) -> None:
        """Takes one step on `group`, the last domains of the group that these moments belong to."""
        last = slice(-len(group), None)
        self._steps[last] += 1
        step_sizes, scales = bias_corrected(lr, self._steps[last])
        same, tensors = (step_sizes == step_sizes[0]).all(), group.tensors()
        for name, gradient in gradients.items():
            value = tensors[name]
            by_domain = (-1, *[1] * (value.dim() - 1))
            step_size, scale = (
                float(numbers[0]) if same else torch.from_numpy(numbers).to(value).view(by_domain)
                for numbers in (step_sizes, scales)
            )
            adam_(value, gradient, self._first[name][last], self._second[name][last], step_size, scale)
