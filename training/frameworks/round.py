"""What a framework works with in a round, beside theta and a patch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from training.config import FrameworkConfig, TrainingConfig
from training.data.domain_batches import domain_walk
from training.data.patch import Patch
from training.distributed.ranks import Ranks
from training.frameworks.inner_step import Gradients, InnerOptimizer, Objective, mean_loss
from training.parameters.shared import SharedParameters

T = TypeVar("T")


@dataclass
class RoundContext:
    """The inner optimiser, the settings, the other ranks, and the random numbers of this one."""

    inner: InnerOptimizer
    framework: FrameworkConfig
    training: TrainingConfig
    ranks: Ranks
    rng: np.random.Generator

    def walk(self, patch: Patch) -> list[list[np.ndarray]]:
        """The domains of a patch in random order (see `domain_walk`), each a list of batches."""
        return domain_walk(patch, self.training.batch_size, self.training.pack, self.rng)

    def walk_batches(self, patch: Patch) -> list[np.ndarray]:
        """The batches of a walk, one after the other."""
        return [rows for domain in self.walk(patch) for rows in domain]

    def descend(
        self, theta: SharedParameters, patch: Patch, batches: Sequence[np.ndarray], objective: Objective = mean_loss
    ) -> None:
        """A step on theta for each batch; ranks step together by the mean of their gradients."""
        self.step_together(
            theta, patch, batches, lambda at, rows_of, rows: self.inner.gradients(at, rows_of.batch(rows), objective)
        )

    def step_together(
        self,
        theta: SharedParameters,
        patch: Patch,
        items: Sequence[T],
        gradients: Callable[[SharedParameters, Patch, T], Gradients],
    ) -> None:
        """A step on theta for each item, by `gradients(parameters, patch, item)` at the parameters of then.

        Those, and the patch with them, number the rows of sharded tables as they are cached here.
        """
        cache = theta.cache(patch.ids, self.inner.moments)
        patch = patch.with_local_ids(theta.shards)
        self.inner.step_together(cache, items, lambda item: gradients(cache, patch, item), self.ranks)
        theta.write_back(cache, self.inner.moments)


def in_groups(batches: Sequence[np.ndarray], size: int) -> list[list[np.ndarray]]:
    """Groups of `size` batches one after the other; a batch that would be left alone joins the group before it.

    Example: five batches by two are groups of 2 and 3.
    """
    groups = [list(batches[begin : begin + size]) for begin in range(0, len(batches), size)]
    if len(groups) > 1 and len(groups[-1]) == 1:
        last = groups.pop()
        groups[-1] += last
    return groups
