"""Alternate: one model, one domain after the other."""

from training.data.patch import Patch
from training.frameworks.round import RoundContext
from training.parameters.shared import SharedParameters


def alternate(theta: SharedParameters, patch: Patch, run: RoundContext) -> None:
    """Walks the domains in random order, a step a batch: DN with an outer rate of 1 that keeps its moments.

    Ranks walk domains of their own side by side and step together by their mean gradient.
    """
    run.descend(theta, patch, run.walk_batches(patch))
