"""What a framework for theta^i works with in a round: some domains side by side, and their rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from training.adam import Moments
from training.batches import Rows
from training.errors import UserError
from training.helpers import Helpers
from training.parameters import Parameters
from training.specific import Group, group_logits

Lines = tuple[dict[str, Tensor], Tensor, Tensor]  # features, labels, weights of a line of rows for each domain


@dataclass(frozen=True, kw_only=True)
class SpecificSettings:
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
class GroupRun:
    """One round for some domains.

    Attributes:
        domains: their ids; all have the same number of batches of settings.batch_size rows in `train`.
        reservoir: the helper domains, and their rows.
        directions: see training/subspace.py.
        turn: the number of the round; (seed, domain, turn) decides helpers and order of rows.
        memory: what a framework keeps from one round of these domains to the next.
    """

    model: nn.Module
    theta: Parameters
    domains: Sequence[int]
    train: Rows
    reservoir: tuple[Helpers, Rows]
    directions: Tensor | None
    settings: SpecificSettings
    turn: int
    memory: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def _rngs(self) -> list[np.random.Generator]:
        return [np.random.default_rng([self.settings.seed, domain, self.turn]) for domain in self.domains]

    def seed_dropout(self) -> None:
        first = np.random.default_rng([self.settings.seed, self.domains[0], self.turn])
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
        """A pass over each domain's rows in random order, a batch of each domain at a time."""
        size = self.settings.batch_size
        orders = [
            rng.permutation(self.train.rows_of[domain]) for domain, rng in zip(self.domains, self._rngs, strict=True)
        ]
        for begin in range(0, len(orders[0]), size):
            yield self.train.take([order[begin : begin + size] for order in orders])

    def step(self, group: Group, batch: Lines, moments: Moments, lr: float) -> None:
        """One Adam step on each domain's offsets, in place, by its own mean loss; theta^S stays as it is.

        The sum of the losses has the same gradients. Raises UserError if a loss is NaN or infinite.
        """
        features, labels, weights = batch
        leaves = {name: value.detach().requires_grad_() for name, value in group.tensors().items()}
        logits = group_logits(self.model, self.theta, group.replaced(leaves), features)
        losses = binary_cross_entropy_with_logits(logits, labels, reduction="none")
        by_domain = (losses * weights).sum(1) / weights.sum(1)
        if not torch.isfinite(by_domain).all():
            domain = self.domains[int(torch.isfinite(by_domain).logical_not().nonzero()[0])]
            raise UserError(
                f"loss of theta^i of domain_id {domain} is not finite in round {self.turn}: "
                "a lower framework.dr_inner_lr may help"
            )
        found = torch.autograd.grad(by_domain.sum(), list(leaves.values()), allow_unused=True)
        moments.begin_step()
        with torch.no_grad():
            for (name, value), gradient in zip(group.tensors().items(), found, strict=True):
                if gradient is None:
                    continue
                if name in group.rows:
                    gradient[:, -1] = 0
                moments.update_(name, value, gradient, lr)
