"""Reptile (Nichol, Achiam and Schulman, 2018, Algorithm 1)."""

from training.data.patch import Patch
from training.frameworks.round import RoundContext
from training.parameters.shared import SharedParameters


def reptile(theta: SharedParameters, patch: Patch, run: RoundContext) -> None:
    """After each domain, an outer step towards where the inner steps on that domain alone have led.

    The inner optimiser starts anew in each domain. Ranks go through their own domains, and theta becomes the mean of
    where they end, for an embedding row over the ranks whose patch has it.
    """
    walker = theta.pull(patch.ids)
    for domain in run.walk(patch):
        before = walker.clone_trained()
        run.inner.reset()
        for rows in domain:
            run.inner.step(walker, patch.batch(rows, local=True))
        for name, value in walker.trained().items():
            value.lerp_(before[name], 1 - run.framework.outer_lr)
    theta.push(walker, 1.0, run.ranks)
