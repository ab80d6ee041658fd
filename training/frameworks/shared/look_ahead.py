"""Takes one SGD step for meta-learners, through which gradients can pass."""

import torch
from torch import Tensor

from training.data.patch import Batch
from training.frameworks.common.inner_step import Forward, Leaves, mean_loss


def look_ahead(forward: Forward, leaves: Leaves, support: Batch, rate: float, second_order: bool) -> dict[str, Tensor]:
    """Returns the leaves after one SGD step on the mean loss of `support`.

    Args:
        forward: the forward pass.
        leaves: the values before the step.
        support: the batch to step on.
        rate: the step size.
        second_order: whether later gradients pass through the step; if not, it counts as a constant.
    """
    loss = mean_loss(forward, leaves, support)
    gradients = torch.autograd.grad(
        loss, list(leaves.values()), create_graph=second_order, allow_unused=True, materialize_grads=True
    )
    return {name: leaf - rate * gradient for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True)}
