"""Learns theta^i from each domain's own rows alone, for many domains side by side."""

from training.frameworks.specific.group_round import GroupContext, GroupMoments
from training.parameters.domain_offsets import OffsetGroup


def finetune(group: OffsetGroup, context: GroupContext) -> None:
    """Makes one pass over each domain's rows, in place. Adam's moments start at zero in each pass."""
    moments = GroupMoments(group)
    for batch in context.own_batches():
        context.step(group, batch, moments, context.settings.finetune_lr)
