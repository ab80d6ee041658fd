"""Finetune: theta^i learned from the domain's own rows alone, for many domains side by side."""

from training.frameworks.specific.group_round import GroupContext, GroupMoments
from training.parameters.domain_offsets import OffsetGroup


def finetune(group: OffsetGroup, run: GroupContext) -> None:
    """One pass over each domain's own rows, in place, by an Adam of its own that lives for the pass."""
    moments = GroupMoments(group)
    for own in run.own_batches():
        run.step(group, own, moments, run.settings.finetune_lr)
