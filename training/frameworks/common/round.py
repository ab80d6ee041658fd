"""Offers what a framework for theta^S works with in a round, besides theta^S and a patch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from training.config import TrainingConfig
from training.config.framework_settings import FrameworkSettings
from training.data.domain_batches import domain_walk
from training.data.patch import Patch
from training.distributed.ranks import Ranks
from training.frameworks.common.gradients import Gradients
from training.frameworks.common.inner_step import InnerOptimizer, Objective, mean_loss
from training.parameters.sharded_cache import sharded_cache
from training.parameters.shared import SharedParameters

T = TypeVar("T")


@dataclass
class RoundContext:
    """Holds what a framework needs in a round.

    Attributes:
        inner: the inner optimiser. Its moments last from round to round.
        framework: the settings of the framework.
        training: the batch size and whether small domains are packed.
        ranks: all ranks.
        rng: this rank's random numbers.
    """

    inner: InnerOptimizer
    framework: FrameworkSettings
    training: TrainingConfig
    ranks: Ranks
    rng: np.random.Generator

    def walk(self, patch: Patch) -> list[list[np.ndarray]]:
        """Returns the batches of each domain of a patch, the domains in random order (see `domain_walk`)."""
        return domain_walk(patch, self.training.batch_size, self.training.pack, self.rng)

    def walk_batches(self, patch: Patch) -> list[np.ndarray]:
        """Returns the batches of `walk` as one list."""
        return [rows for domain in self.walk(patch) for rows in domain]

    def descend(
        self, theta: SharedParameters, patch: Patch, batches: Sequence[np.ndarray], objective: Objective = mean_loss
    ) -> None:
        """Takes one step on theta for each batch. Ranks step together, by the mean of their gradients."""

        def gradients(parameters: SharedParameters, patch: Patch, rows: np.ndarray) -> Gradients:
            return self.inner.gradients(parameters, patch.batch(rows), objective)

        self.step_together(theta, patch, batches, gradients)

    def step_together(
        self,
        theta: SharedParameters,
        patch: Patch,
        items: Sequence[T],
        gradients: Callable[[SharedParameters, Patch, T], Gradients],
    ) -> None:
        """Takes one step on theta for each item, by the mean over ranks of `gradients(parameters, patch, item)`.

        The parameters are the current ones. With sharded tables, they are a local cache and the patch has local ids.
        """
        with sharded_cache(theta, patch.ids, self.inner.moments) as parameters:
            local_patch = patch.with_local_ids(theta.shards)
            self.inner.step_together(
                parameters, items, lambda item: gradients(parameters, local_patch, item), self.ranks
            )


def in_groups(batches: Sequence[np.ndarray], size: int) -> list[list[np.ndarray]]:
    """Groups consecutive batches by `size`. A single batch left at the end joins the group before it.

    >>> [len(group) for group in in_groups([np.arange(8)] * 5, 2)]
    [2, 3]
    """
    groups = [list(batches[begin : begin + size]) for begin in range(0, len(batches), size)]
    if len(groups) > 1 and len(groups[-1]) == 1:
        last = groups.pop()
        groups[-1] += last
    return groups
