"""PCGrad: gradients of domains that conflict are projected (Yu et al., NeurIPS 2020, Algorithm 1)."""

import numpy as np
import torch
from torch import Tensor

from training.data.patch import Patch
from training.frameworks.inner_step import Gradients
from training.frameworks.round import RoundContext, in_groups
from training.parameters.shared import SharedParameters


def pcgrad(theta: SharedParameters, patch: Patch, run: RoundContext) -> None:
    """A step for every `framework.pcgrad_domains` batches of a walk, by the mean of their projected gradients.

    With thousands of domains not all can be compared with all in every step: those of a step are a random sample, and
    every batch is in one step of the epoch. Ranks compare batches of their own, and step by the mean over ranks.
    """

    def gradients(theta: SharedParameters, patch: Patch, group: list[np.ndarray]) -> Gradients:
        found = [run.inner.gradients(theta, patch.batch(rows)) for rows in group]
        weights = projection_weights(gram_matrix(found).cpu(), run.rng)  # a GPU would be asked for each pair
        return combine(found, weights.to(theta.like))

    groups = in_groups(run.walk_batches(patch), run.framework.pcgrad_domains)
    run.step_together(theta, patch, groups, gradients)


def projection_weights(gram: Tensor, rng: np.random.Generator) -> Tensor:
    """The weights w with which the mean of the projected gradients is sum_i w_i g_i.

    Args:
        gram: the inner products <g_i, g_j>, shape (k, k).

    For each i, and for the others j in random order: where <g_i, g_j> < 0, g_i -= <g_i, g_j> / |g_j|^2 g_j, with g_j
    as it was. All of this happens in the span of the gradients, so their inner products are enough.

    Example: g_1 = (1, 0) and g_2 = (-1, 1) become (1/2, 1/2) and (0, 1), so the weights are
    (1, 3/4).
    """
    count = len(gram)
    weights = torch.eye(count, dtype=gram.dtype, device=gram.device)
    for i in range(count):
        for j in rng.permutation(count).tolist():
            product = weights[i] @ gram[:, j]
            if j != i and product < 0:
                weights[i, j] -= product / gram[j, j]
    return weights.mean(0)


def gram_matrix(gradients: list[Gradients]) -> Tensor:
    """The inner products of gradients over all parameters, shape (k, k)."""
    dense = [[value.flatten() for value in one.dense.values()] for one in gradients]
    gram = sum(torch.stack(values) @ torch.stack(values).T for values in zip(*dense, strict=True))
    for vocabulary in gradients[0].rows:
        for name in gradients[0].rows[vocabulary][1]:
            ids, rows = _aligned(gradients, vocabulary, name)
            gram += rows.flatten(1) @ rows.flatten(1).T
    return gram


def combine(gradients: list[Gradients], weights: Tensor) -> Gradients:
    """The weighted sum of gradients."""
    dense = {
        name: torch.stack([one.dense[name] * weight for one, weight in zip(gradients, weights, strict=True)]).sum(0)
        for name in gradients[0].dense
    }
    rows = {}
    for vocabulary, (ids, tables) in gradients[0].rows.items():
        summed = {}
        for name in tables:
            ids, aligned = _aligned(gradients, vocabulary, name)
            summed[name] = torch.tensordot(weights, aligned, dims=1)
        rows[vocabulary] = (ids, summed)
    return Gradients(dense, rows)


def _aligned(gradients: list[Gradients], vocabulary: str, name: str) -> tuple[Tensor, Tensor]:
    """The ids of all gradients (n,), and each one's rows of a table at their places, zero elsewhere, (k, n, dim)."""
    own_ids = [one.rows[vocabulary][0] for one in gradients]
    ids = torch.unique(torch.cat(own_ids))
    own = [one.rows[vocabulary][1][name] for one in gradients]
    rows = own[0].new_zeros(len(gradients), len(ids), own[0].shape[1])
    for index, (place, values) in enumerate(zip(own_ids, own, strict=True)):
        rows[index, torch.searchsorted(ids, place)] = values
    return ids, rows
