"""Domain Regularization (MAMDR, ICDE 2023, Algorithm 2), for many domains side by side."""

from training.frameworks.specific.group_round import GroupContext, GroupMoments
from training.parameters.domain_offsets import OffsetGroup


def regularize(group: OffsetGroup, run: GroupContext) -> None:
    """One round of Domain Regularization, Algorithm 2, for each domain of a group, in place.

    Line 4 is one step on a batch of the helper domain, line 5 a pass over the domain's own rows. A helper's row
    keeps its own domain id, and only rows of tables that occur in the target's training data get an offset. Adam's
    moments start at zero and live for the round, each domain's its own.
    """
    settings, moments = run.settings, GroupMoments(group)
    for helper in run.helper_batches():  # lines 1 and 2
        walker = group.clone()  # line 3
        run.step(walker, helper, moments, settings.inner_lr)  # line 4
        for own in run.own_batches():
            run.step(walker, own, moments, settings.inner_lr)  # line 5
        group.lerp_(walker, settings.outer_lr)  # line 6
