"""Domain Negotiation (MAMDR, ICDE 2023, Algorithm 1)."""

import numpy as np

from training.batches import Patch, domain_walk
from training.frameworks.settings import RoundSettings
from training.inner import InnerOptimizer
from training.parameters import Parameters
from training.ranks import Ranks


def negotiate(
    theta: Parameters,
    patch: Patch,
    inner: InnerOptimizer,
    settings: RoundSettings,
    ranks: Ranks,
    rng: np.random.Generator,
) -> None:
    """One round of Domain Negotiation: lines 2 to 7 of Algorithm 1 on the domains of a patch.

    Every rank starts from the same theta and walks the domains of its own patch; the outer step takes the mean
    of the ranks' ways, for an embedding row the mean over the ranks whose patch has it. On one rank, with one
    round an epoch and packing off, this is Algorithm 1. The inner optimiser's moments are forgotten at the start
    of a round: they belong to a walk that the outer step has cut short.
    """
    walker = theta.pull(patch.ids)  # line 2
    inner.reset()
    for domain in domain_walk(patch, settings.batch_size, settings.pack, rng):  # lines 3 and 4
        for rows in domain:
            inner.step(walker, patch.batch(rows, local=True))  # line 5
    theta.push(walker, settings.outer_lr, ranks)  # line 7
