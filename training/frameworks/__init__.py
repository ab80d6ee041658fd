"""Learns theta^S and theta^i by frameworks, and exports what the author of a new one imports.

    from training.frameworks import Patch, RoundContext, SharedParameters, negotiate, shuffled_batches

A framework for theta^S is a function (theta, patch, context), one for theta^i a function (group, context); each is one
file in `shared/` or `specific/` and one entry in training/config/frameworks.py. The registry finds it by its name.
"""

from training.data.domain_batches import shuffled_batches
from training.data.patch import Batch, Patch
from training.frameworks.common.inner_step import Forward, Gradients, InnerOptimizer, Leaves, mean_loss
from training.frameworks.common.round import RoundContext
from training.frameworks.shared.dn import negotiate
from training.frameworks.specific.group_round import GroupContext
from training.parameters.domain_offsets import OffsetGroup
from training.parameters.shared import SharedParameters

__all__ = [
    "Batch",
    "Forward",
    "Gradients",
    "GroupContext",
    "InnerOptimizer",
    "Leaves",
    "OffsetGroup",
    "Patch",
    "RoundContext",
    "SharedParameters",
    "mean_loss",
    "negotiate",
    "shuffled_batches",
]
