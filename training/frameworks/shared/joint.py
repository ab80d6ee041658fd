"""Trains one model on the mixed rows of all domains (joint training)."""

from training.data.domain_batches import shuffled_batches
from training.data.patch import Patch
from training.frameworks.common.round import RoundContext
from training.parameters.shared import SharedParameters


def joint(theta: SharedParameters, patch: Patch, context: RoundContext) -> None:
    """Minimises the mean loss over shuffled rows of all domains.

    In each step every rank takes one batch, and all step by their mean gradient (synchronous data parallelism).
    """
    context.descend(theta, patch, shuffled_batches(patch.rows, context.training.batch_size, context.rng))
