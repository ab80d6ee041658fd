"""Learns theta^S by MLDG (Li et al., AAAI 2018, Algorithm 1): steps on some domains that also help other domains."""

from functools import partial

import numpy as np
from torch import Tensor

from training.data.patch import Batch, Patch
from training.frameworks.common.gradients import Gradients
from training.frameworks.common.inner_step import Forward, Leaves, mean_loss
from training.frameworks.common.round import RoundContext, in_groups
from training.frameworks.shared.look_ahead import look_ahead
from training.parameters.shared import SharedParameters


def mldg(theta: SharedParameters, patch: Patch, context: RoundContext) -> None:
    """Takes one step for each group of 1 / `framework.meta_share` batches; the last one is the meta-test batch.

    Minimises F(theta) + G(theta - rate * F'(theta)), with F the loss on the other batches and G the loss on the last.
    Each batch of the patch is in exactly one group. Ranks step together by their mean gradient.
    """
    framework = context.framework

    def gradients(theta: SharedParameters, patch: Patch, group: list[np.ndarray]) -> Gradients:
        objective = partial(
            generalisation_loss,
            held_out=len(group[-1]) if len(group) > 1 else 0,
            rate=framework.meta_lr,
            second_order=framework.second_order,
        )
        return context.inner.gradients(theta, patch.batch(np.concatenate(group)), objective)

    groups = in_groups(context.walk_batches(patch), max(2, round(1 / framework.meta_share)))
    context.step_together(theta, patch, groups, gradients)


def generalisation_loss(
    forward: Forward, leaves: Leaves, batch: Batch, held_out: int, rate: float, second_order: bool
) -> Tensor:
    """Computes F + G, with the last `held_out` rows of the batch as the meta-test rows. Without any it is F."""
    if not held_out:
        return mean_loss(forward, leaves, batch)
    train, test = batch.split(held_out)
    ahead = look_ahead(forward, leaves, train, rate, second_order)
    return mean_loss(forward, leaves, train) + mean_loss(forward, ahead, test)
