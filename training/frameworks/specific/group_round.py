"""What a framework for theta^i works with in a round: some domains side by side, and their rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

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
from training.parameters.shared import SharedParameters

Lines = tuple[dict[str, Tensor], Tensor, Tensor]  # features, labels, weights of a line of rows for each domain


@dataclass(frozen=True, kw_only=True)
class AdaptationSettings:
    """How theta^i is learned."""

    rounds: tuple[str, ...]  # what each round is: dr or finetune
    inner_lr: float  # alpha of Algorithm 2
    outer_lr: float  # gamma of Algorithm 2
    finetune_lr: float
    most_rows: int  # of a domain, to learn its place in the subspace
    helpers: int  # k of Algorithm 2
    batch_size: int
    seed: int


@dataclass
class GroupContext:
    """One round for some domains.

    Attributes:
        domains: their ids; none has more rows in `train` than the next.
        reservoir: the helper domains, and their rows.
        directions: see subspace_directions.py.
        round_number: counts from 1; (seed, domain, round_number) decides helpers and order of rows.
        memory: what a framework keeps from one round of these domains to the next.
    """

    model: nn.Module
    theta: SharedParameters
    domains: Sequence[int]
    train: DomainRows
    reservoir: tuple[HelperRows, DomainRows]
    directions: Tensor | None
    settings: AdaptationSettings
    round_number: int
    memory: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def _rngs(self) -> list[np.random.Generator]:
        return [np.random.default_rng([self.settings.seed, domain, self.round_number]) for domain in self.domains]

    def seed_dropout(self) -> None:
        first = np.random.default_rng([self.settings.seed, self.domains[0], self.round_number])
        torch.manual_seed(int(first.integers(2**62)))

    def helper_batches(self) -> Iterator[Lines]:
        """For each of k helpers, rows of a domain other than its own for each domain."""
        helpers, rows = self.reservoir
        drawn = [
            helpers.draw(domain, self.settings.helpers, rng)
            for domain, rng in zip(self.domains, self._rngs, strict=True)
        ]
        for slot in range(min(map(len, drawn))):
            yield rows.take([helpers.rows_of(places[slot]) for places in drawn])

    def own_sample(self) -> Lines:
        """Rows of each domain, at most settings.most_rows of them."""
        return self.train.take(
            [
                rng.permutation(self.train.rows_of[domain])[: self.settings.most_rows]
                for domain, rng in zip(self.domains, self._rngs, strict=True)
            ]
        )

    def own_batches(self) -> Iterator[Lines]:
        """A pass over each domain's rows in random order, a batch of each domain at a time.

        Smaller domains are through sooner: the last batches are of the last domains only.
        """
        size = self.settings.batch_size
        orders = [
            rng.permutation(self.train.rows_of[domain]) for domain, rng in zip(self.domains, self._rngs, strict=True)
        ]
        for begin in range(0, len(orders[-1]), size):
            yield self.train.take([order[begin : begin + size] for order in orders if begin < len(order)])

    def step(self, group: OffsetGroup, batch: Lines, moments: "GroupMoments", lr: float) -> None:
        """One Adam step on the offsets of the last domains, as many as `batch` has, in place; theta^S stays as it is.

        Each domain by its own mean loss; the sum of the losses has the same gradients. Raises UserError if a loss is
        NaN or infinite.
        """
        features, labels, weights = batch
        group, domains = group.last(len(labels)), self.domains[-len(labels) :]
        leaves = {name: value.detach().requires_grad_() for name, value in group.tensors().items()}
        logits = group_logits(self.model, self.theta, group.replaced(leaves), features)
        losses = binary_cross_entropy_with_logits(logits, labels, reduction="none")
        by_domain = (losses * weights).sum(1) / weights.sum(1)
        if not torch.isfinite(by_domain).all():
            domain = domains[int(torch.isfinite(by_domain).logical_not().nonzero()[0])]
            raise UserError(
                f"loss of theta^i of domain_id {domain} is not finite in round {self.round_number}: "
                "a lower framework.dr_inner_lr may help"
            )
        found = torch.autograd.grad(by_domain.sum(), list(leaves.values()), allow_unused=True)
        gradients = {name: value for name, value in zip(leaves, found, strict=True) if value is not None}
        for name in gradients.keys() & group.rows.keys():
            gradients[name][:, -1] = 0
        moments.step_(group, gradients, lr)


class GroupMoments:
    """Adam's moments of the domains of a group, zero at first; each domain counts its own steps."""

    def __init__(self, group: OffsetGroup) -> None:
        self._first = {name: torch.zeros_like(value) for name, value in group.tensors().items()}
        self._second = {name: torch.zeros_like(value) for name, value in group.tensors().items()}
        self._steps = np.zeros(len(group))

    @torch.no_grad()
    def step_(self, group: OffsetGroup, gradients: dict[str, Tensor], lr: float) -> None:
        """One step on the last domains, those that are in `group`."""
        last = slice(-len(group), None)
        self._steps[last] += 1
        rates, spreads = bias_corrected(lr, self._steps[last])
        like, tensors = (rates == rates[0]).all(), group.tensors()
        for name, gradient in gradients.items():
            value = tensors[name]
            line = (-1, *[1] * (value.dim() - 1))
            rate, spread = (
                float(numbers[0]) if like else torch.from_numpy(numbers).to(value).view(line)
                for numbers in (rates, spreads)
            )
            adam_(value, gradient, self._first[name][last], self._second[name][last], rate, spread)
