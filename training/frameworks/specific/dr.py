"""Learns theta^i by Domain Regularization (MAMDR, ICDE 2023, Algorithm 2), for many domains side by side."""

from training.frameworks.specific.group_round import GroupContext, GroupMoments
from training.parameters.domain_offsets import OffsetGroup


def regularize(group: OffsetGroup, context: GroupContext) -> None:
    """Runs one round of Domain Regularization, Algorithm 2, for each domain of a group, in place.

    Line 4 takes one step on a batch of the helper domain, line 5 makes a pass over the domain's own rows. Rows of a
    helper domain keep their domain id. Only table rows that occur in the domain's own training rows get an offset.
    Adam's moments are separate for each domain, and start at zero in each round.
    """
    settings, moments = context.settings, GroupMoments(group)
    for helper_batch in context.helper_batches():  # lines 1 and 2
        walker = group.clone()  # line 3
        context.step(walker, helper_batch, moments, settings.dr_inner_lr)  # line 4
        for own_batch in context.own_batches():
            context.step(walker, own_batch, moments, settings.dr_inner_lr)  # line 5
        group.lerp_(walker, settings.dr_lr)  # line 6
