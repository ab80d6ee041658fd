"""theta^i as a mix of the directions in which domains differ: our own, see subspace_directions.py."""

import torch
from torch import Tensor, nn

from training.frameworks.specific.group_round import GroupContext
from training.parameters.domain_offsets import OffsetGroup, unflatten
from training.parameters.forward import PREDICT_ROWS, shared_logits
from training.parameters.shared import SharedParameters

STEPS = 50


def subspace(group: OffsetGroup, run: GroupContext) -> None:
    """theta^i = z . directions for each domain of a group, in place, with the most probable z.

    A priori z is standard normal, and in later rounds wider: its variance is 10^((round - 1) / 2). So the first round
    stays near theta^S, and the round that validation keeps tells how much domains of a size can bear. There is no
    learning rate.
    """
    if "slopes" not in run.memory:
        features, labels, weights = run.own_sample()
        shape = labels.shape
        flat = {name: column.flatten(0, 1) for name, column in features.items()}
        logits, slopes = slopes_along(run.directions, run.model, run.theta, flat)
        run.memory["slopes"] = slopes.unflatten(0, shape), logits.unflatten(0, shape), labels, weights
    place = most_probable(*run.memory["slopes"], precision=10 ** ((1 - run.round_number) / 2))
    group.dense = unflatten(place.to(run.directions) @ run.directions, run.theta)


@torch.no_grad()
def slopes_along(
    directions: Tensor, model: nn.Module, theta: SharedParameters, features: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """The logits of theta^S, shape (rows,), and how they change along each direction, shape (rows, rank).

    By differences of a whole direction to either side, not by derivatives: any module will do, and what is small and
    sharp, as the corner of a ReLU, is averaged.
    """
    model.eval()
    count = len(next(iter(features.values())))
    parts = []
    for begin in range(0, count, PREDICT_ROWS):
        part = {name: column[begin : begin + PREDICT_ROWS] for name, column in features.items()}

        def at(offset: Tensor, part: dict[str, Tensor] = part) -> Tensor:
            dense = {name: theta.dense[name] + own for name, own in unflatten(offset, theta).items()}
            return shared_logits(model, theta, dense, part)

        moved = [(at(direction) - at(-direction)) / 2 for direction in directions]
        parts.append(torch.stack([at(torch.zeros_like(directions[0])), *moved], dim=1))
    found = torch.cat(parts)
    return found[:, 0], found[:, 1:]


def most_probable(slopes: Tensor, logits: Tensor, labels: Tensor, weights: Tensor, precision: float) -> Tensor:
    """The z of each domain that maximises log p(labels | logits + slopes . z) - precision |z|^2 / 2.

    A logistic regression with a ridge. Its curvature is at most a quarter of slopes^T slopes, plus the precision; steps
    by that bound (Boehning and Lindsay, 1988) never overshoot.

    Args:
        slopes: shape (domains, rows, rank). logits, labels, weights: shape (domains, rows); weight 0 is no row.

    Returns:
        shape (domains, rank), float64.
    """
    slopes, logits, labels, weights = (value.double() for value in (slopes, logits, labels, weights))
    slopes = slopes * weights.unsqueeze(-1)
    eye = torch.eye(slopes.shape[-1], dtype=slopes.dtype, device=slopes.device)
    bound = torch.linalg.cholesky(slopes.mT @ slopes / 4 + precision * eye)
    place = slopes.new_zeros(len(slopes), slopes.shape[-1])
    for _ in range(STEPS):
        surprise = labels - torch.sigmoid(logits + (slopes @ place.unsqueeze(-1)).squeeze(-1))
        uphill = (slopes.mT @ surprise.unsqueeze(-1)).squeeze(-1) - precision * place
        place = place + torch.cholesky_solve(uphill.unsqueeze(-1), bound).squeeze(-1)
    return place
