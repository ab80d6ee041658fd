"""Leaves theta^S as it was initialized, for a theta^i that learns alone."""

from training.data.patch import Patch
from training.frameworks.common.round import RoundContext
from training.parameters.shared import SharedParameters


def leave(theta: SharedParameters, patch: Patch, context: RoundContext) -> None:
    """Leaves theta^S as it is."""
