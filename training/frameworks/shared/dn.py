"""Domain Negotiation (MAMDR, ICDE 2023, Algorithm 1)."""

from training.data.patch import Patch
from training.frameworks.round import RoundContext
from training.parameters.shared import SharedParameters


def negotiate(theta: SharedParameters, patch: Patch, run: RoundContext) -> None:
    """One round of Domain Negotiation: lines 2 to 7 of Algorithm 1 on the domains of a patch.

    Every rank starts from the same theta and walks the domains of its own patch; the outer step takes the mean
    of the ranks' ways, for an embedding row the mean over the ranks whose patch has it. On one rank, with one
    round an epoch and packing off, this is Algorithm 1. The inner optimiser's moments are forgotten at the start
    of a round: they belong to a walk that the outer step has cut short.
    """
    walker = theta.pull(patch.ids)  # line 2
    run.inner.reset()
    for domain in run.walk(patch):  # lines 3 and 4
        for rows in domain:
            run.inner.step(walker, patch.batch(rows, local=True))  # line 5
    theta.push(walker, run.framework.outer_lr, run.ranks)  # line 7
