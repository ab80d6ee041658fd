"""Learns theta^S by Reptile (Nichol, Achiam and Schulman, 2018, Algorithm 1)."""

from training.data.patch import Patch
from training.frameworks.common.round import RoundContext
from training.frameworks.shared.outer_step import outer_step
from training.parameters.shared import SharedParameters


def reptile(theta: SharedParameters, patch: Patch, context: RoundContext) -> None:
    """Takes an outer step after each domain, towards where the inner steps on that domain alone have led.

    The inner optimiser's moments start at zero in each domain. Each rank passes over its own domains. At the end theta
    becomes the mean of the ranks' results, for an embedding row over the ranks whose patch has it.
    """
    walker = theta.pull(patch.ids)
    for domain in context.walk(patch):
        before = walker.clone_trained()
        context.inner.reset()
        for rows in domain:
            context.inner.step(walker, patch.batch(rows, local=True))
        for name, value in walker.trained().items():
            value.lerp_(before[name], 1 - context.framework.outer_lr)
    outer_step(theta, walker, 1.0, context.ranks)
