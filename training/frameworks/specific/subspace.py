"""Learns theta^i as a mix of the directions in which domains differ (see subspace_directions.py)."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from training.frameworks.specific.group_round import GroupContext
from training.parameters.domain_offsets import OffsetGroup, unflatten
from training.parameters.forward import PREDICT_ROWS, shared_logits

if TYPE_CHECKING:
    from training.parameters.shared import SharedParameters

STEPS = 50


def subspace(group: OffsetGroup, context: GroupContext) -> None:
    """Sets theta^i = z . directions for each domain of a group, in place, with the most probable z.

    A priori z is normal with variance 10^((round - 1) / 2). So the first round stays near theta^S and later rounds move
    farther away; validation chooses the round for domains of similar size. There is no learning rate.

    Raises:
        ValueError: there are no directions.
    """
    directions = context.directions
    if directions is None:
        raise ValueError("framework.specific=subspace needs directions: set Adapter.directions first")
    if "slopes" not in context.memory:
        features, labels, weights = context.own_sample()
        shape = labels.shape
        flat = {name: column.flatten(0, 1) for name, column in features.items()}
        logits, slopes = slopes_along(directions, context.model, context.theta, flat)
        context.memory["slopes"] = slopes.unflatten(0, shape), logits.unflatten(0, shape), labels, weights
    slopes, logits, labels, weights = context.memory["slopes"]
    z = most_probable(slopes, logits, labels, weights, precision=10 ** ((1 - context.round_number) / 2))
    group.dense = unflatten(z.to(directions) @ directions, context.theta)


@torch.no_grad()
def slopes_along(
    directions: Tensor, model: nn.Module, theta: "SharedParameters", features: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """Computes the logits of theta^S, shape (rows,), and their slopes along each direction, shape (rows, rank).

    A slope is half the difference between the logits one whole direction ahead and one behind. Unlike a derivative it
    exists for any module, and averages over sharp details such as the kink of a ReLU.
    """
    model.eval()
    count = len(next(iter(features.values())))
    results = []
    for begin in range(0, count, PREDICT_ROWS):
        batch = {name: column[begin : begin + PREDICT_ROWS] for name, column in features.items()}

        def logits_at(offset: Tensor, batch: dict[str, Tensor] = batch) -> Tensor:
            dense = {name: theta.dense[name] + value for name, value in unflatten(offset, theta).items()}
            return shared_logits(model, theta, dense, batch)

        slopes = [(logits_at(direction) - logits_at(-direction)) / 2 for direction in directions]
        results.append(torch.stack([logits_at(torch.zeros_like(directions[0])), *slopes], dim=1))
    joined = torch.cat(results)
    return joined[:, 0], joined[:, 1:]


def most_probable(slopes: Tensor, logits: Tensor, labels: Tensor, weights: Tensor, precision: float) -> Tensor:
    """Finds the z of each domain that maximises log p(labels | logits + slopes . z) - precision |z|^2 / 2.

    This is a logistic regression with a ridge. Its curvature is at most slopes^T slopes / 4 + precision, and steps by
    that bound (Boehning and Lindsay, 1988) never overshoot.

    Args:
        slopes: shape (domains, rows, rank).
        logits: those of theta^S, shape (domains, rows).
        labels: 0 or 1, shape (domains, rows).
        weights: 1 for rows, 0 for padding, shape (domains, rows).
        precision: the inverse of the variance of z.

    Returns:
        shape (domains, rank), float64.
    """
    slopes, logits, labels, weights = (value.double() for value in (slopes, logits, labels, weights))
    slopes = slopes * weights.unsqueeze(-1)
    eye = torch.eye(slopes.shape[-1], dtype=slopes.dtype, device=slopes.device)
    bound = torch.linalg.cholesky(slopes.mT @ slopes / 4 + precision * eye)
    z = slopes.new_zeros(len(slopes), slopes.shape[-1])
    for _ in range(STEPS):
        residuals = labels - torch.sigmoid(logits + (slopes @ z.unsqueeze(-1)).squeeze(-1))
        gradient = (slopes.mT @ residuals.unsqueeze(-1)).squeeze(-1) - precision * z
        z = z + torch.cholesky_solve(gradient.unsqueeze(-1), bound).squeeze(-1)
    return z
