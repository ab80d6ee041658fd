"""Learns theta^S by MAML (Finn, Abbeel and Levine, ICML 2017, Algorithm 2)."""

from functools import partial

from torch import Tensor

from training.data.patch import Batch, Patch
from training.frameworks.common.inner_step import Forward, Leaves, mean_loss
from training.frameworks.common.round import RoundContext
from training.frameworks.shared.look_ahead import look_ahead
from training.parameters.shared import SharedParameters


def maml(theta: SharedParameters, patch: Patch, context: RoundContext) -> None:
    """Learns parameters from which one SGD step on most rows of a batch reduces the loss of the others.

    A batch holds rows of one domain, or of several small domains. A random share `framework.meta_share` of its rows is
    the query set, the rest the support set. Adam takes the outer step, by the mean gradient of all ranks.
    """
    framework = context.framework
    objective = partial(
        query_loss, rate=framework.meta_lr, share=framework.meta_share, second_order=framework.second_order
    )
    context.descend(theta, patch, [context.rng.permutation(rows) for rows in context.walk_batches(patch)], objective)


def query_loss(forward: Forward, leaves: Leaves, batch: Batch, rate: float, share: float, second_order: bool) -> Tensor:
    """Computes the loss on the last `share` of the rows after one SGD step on the other rows."""
    support, query = batch.split(max(1, round(len(batch) * share)))
    return mean_loss(forward, look_ahead(forward, leaves, support, rate, second_order), query)
