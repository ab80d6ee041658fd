"""MLDG (Li et al., AAAI 2018, Algorithm 1): what is learned from some domains should serve the others."""

from functools import partial

import numpy as np
from torch import Tensor

from training.data.patch import Batch, Patch
from training.frameworks.inner_step import Forward, Gradients, Leaves, mean_loss
from training.frameworks.round import RoundContext, in_groups
from training.frameworks.shared.maml import look_ahead
from training.parameters.shared import SharedParameters


def mldg(theta: SharedParameters, patch: Patch, run: RoundContext) -> None:
    """Steps on groups of 1 / `framework.meta_share` batches, of which the last is of the meta-test domains.

    Minimises F(theta) + G(theta - rate * F'(theta)), F the loss on the other batches and G that on the last. Every
    batch of the walk is in one group, so a group is one optimiser step. Ranks step by their mean gradient.
    """
    framework = run.framework

    def gradients(theta: SharedParameters, patch: Patch, group: list[np.ndarray]) -> Gradients:
        objective = partial(
            generalisation_loss,
            held_out=len(group[-1]) if len(group) > 1 else 0,
            rate=framework.meta_lr,
            second_order=framework.second_order,
        )
        return run.inner.gradients(theta, patch.batch(np.concatenate(group)), objective)

    groups = in_groups(run.walk_batches(patch), max(2, round(1 / framework.meta_share)))
    run.step_together(theta, patch, groups, gradients)


def generalisation_loss(
    forward: Forward, leaves: Leaves, batch: Batch, held_out: int, rate: float, second_order: bool
) -> Tensor:
    """F + G, where the last `held_out` rows of the batch are those of the meta-test domains."""
    if not held_out:
        return mean_loss(forward, leaves, batch)
    train, test = batch.split(held_out)
    ahead = look_ahead(forward, leaves, train, rate, second_order)
    return mean_loss(forward, leaves, train) + mean_loss(forward, ahead, test)
