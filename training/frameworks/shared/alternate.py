"""Trains one model on one domain after another (alternate training)."""

from training.data.patch import Patch
from training.frameworks.common.round import RoundContext
from training.parameters.shared import SharedParameters


def alternate(theta: SharedParameters, patch: Patch, context: RoundContext) -> None:
    """Steps on the batches of one domain after another, in random order: DN with beta = 1 that keeps its moments.

    Each rank takes batches from its own domains; all ranks step together by their mean gradient.
    """
    context.descend(theta, patch, context.walk_batches(patch))
