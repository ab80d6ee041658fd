"""MAML (Finn, Abbeel and Levine, ICML 2017, Algorithm 2)."""

from functools import partial

import torch
from torch import Tensor

from training.data.patch import Batch, Patch
from training.frameworks.inner_step import Forward, Leaves, mean_loss
from training.frameworks.round import RoundContext
from training.parameters.shared import SharedParameters


def maml(theta: SharedParameters, patch: Patch, run: RoundContext) -> None:
    """For each batch of a walk, a step that makes one SGD step on most of its rows serve the others.

    Of the rows of a batch, which are of one domain or of a pack of whole small ones, a random share
    `framework.meta_share` is the query set. Adam takes the outer step, ranks by their mean gradient.
    """
    framework = run.framework
    objective = partial(
        query_loss, rate=framework.meta_lr, share=framework.meta_share, second_order=framework.second_order
    )
    run.descend(theta, patch, [run.rng.permutation(rows) for rows in run.walk_batches(patch)], objective)


def query_loss(forward: Forward, leaves: Leaves, batch: Batch, rate: float, share: float, second_order: bool) -> Tensor:
    """The loss on the last `share` of the rows, at the parameters after a step on the rows before them."""
    support, query = batch.split(max(1, round(len(batch) * share)))
    return mean_loss(forward, look_ahead(forward, leaves, support, rate, second_order), query)


def look_ahead(forward: Forward, leaves: Leaves, support: Batch, rate: float, second_order: bool) -> dict[str, Tensor]:
    """The leaves after one SGD step on `support`; of first order, the step counts as a constant."""
    loss = mean_loss(forward, leaves, support)
    found = torch.autograd.grad(
        loss, list(leaves.values()), create_graph=second_order, allow_unused=True, materialize_grads=True
    )
    return {name: leaf - rate * gradient for (name, leaf), gradient in zip(leaves.items(), found, strict=True)}
