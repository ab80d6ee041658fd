"""Learns theta^S by Domain Negotiation (MAMDR, ICDE 2023, Algorithm 1)."""

from training.data.patch import Patch
from training.frameworks.common.round import RoundContext
from training.frameworks.shared.outer_step import outer_step
from training.parameters.shared import SharedParameters


def negotiate(theta: SharedParameters, patch: Patch, context: RoundContext) -> None:
    """Runs one round of Domain Negotiation: lines 2 to 7 of Algorithm 1 on the domains of a patch.

    Every rank starts from the same theta and trains a copy, the walker, on one domain of its patch after another. The
    outer step averages the walkers' displacements over ranks. On one rank, with one round an epoch and packing off,
    this is Algorithm 1. The inner optimiser's moments start at zero in each round, since they belong to a walker that
    the last outer step has left behind.
    """
    walker = theta.pull(patch.ids)  # line 2
    context.inner.reset()
    for domain in context.walk(patch):  # lines 3 and 4
        for rows in domain:
            context.inner.step(walker, patch.batch(rows, local=True))  # line 5
    outer_step(theta, walker, context.framework.outer_lr, context.ranks)  # line 7
