"""Projects conflicting gradients of domains by PCGrad (Yu et al., NeurIPS 2020, Algorithm 1)."""

import numpy as np
import torch
from torch import Tensor

from training.data.patch import Patch
from training.frameworks.common.gradients import Gradients
from training.frameworks.common.round import RoundContext, in_groups
from training.parameters.shared import SharedParameters


def pcgrad(theta: SharedParameters, patch: Patch, context: RoundContext) -> None:
    """Takes one step for every `framework.pcgrad_domains` batches, by the mean of their projected gradients.

    With thousands of domains a step cannot compare all of them. It compares a random sample, and each batch of the
    epoch is in exactly one sample. Each rank compares its own batches, and all step by the mean over ranks.
    """

    def gradients(theta: SharedParameters, patch: Patch, group: list[np.ndarray]) -> Gradients:
        of_batches = [context.inner.gradients(theta, patch.batch(rows)) for rows in group]
        # The projection reads single entries, which would stall a GPU each time.
        weights = projection_weights(gram_matrix(of_batches).cpu(), context.rng)
        return combine(of_batches, weights.to(theta.like))

    groups = in_groups(context.walk_batches(patch), context.framework.pcgrad_domains)
    context.step_together(theta, patch, groups, gradients)


def projection_weights(gram: Tensor, rng: np.random.Generator) -> Tensor:
    """Computes weights w so that the mean of the projected gradients is sum_i w_i g_i.

    For each i, and for the others j in random order: if <g_i, g_j> < 0, then g_i -= <g_i, g_j> / |g_j|^2 g_j, with the
    original g_j. All of this happens in the span of the gradients, so their inner products are enough.

    Args:
        gram: the inner products <g_i, g_j>, shape (k, k).
        rng: decides the order.

    Returns:
        shape (k,).

    The gradients (1, 0) and (-1, 1) become (1/2, 1/2) and (0, 1):

    >>> gradients = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    >>> projection_weights(gradients @ gradients.T, np.random.default_rng(0)).tolist()
    [1.0, 0.75]
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
    """Computes the inner products of k gradients over all parameters, shape (k, k)."""
    first = gradients[0]
    values = [torch.stack([gradient.dense[name].flatten() for gradient in gradients]) for name in first.dense]
    for vocabulary, (_, tables) in first.rows.items():
        values += [_aligned_rows(gradients, vocabulary, name)[1].flatten(1) for name in tables]
    products = [matrix @ matrix.T for matrix in values]
    return sum(products[1:], start=products[0])


def combine(gradients: list[Gradients], weights: Tensor) -> Gradients:
    """Computes the weighted sum of k gradients, with weights of shape (k,)."""
    dense = {
        name: torch.stack(
            [gradient.dense[name] * weight for gradient, weight in zip(gradients, weights, strict=True)]
        ).sum(0)
        for name in gradients[0].dense
    }
    rows = {}
    for vocabulary, (ids, tables) in gradients[0].rows.items():
        summed = {}
        for name in tables:
            ids, aligned = _aligned_rows(gradients, vocabulary, name)
            summed[name] = torch.tensordot(weights, aligned, dims=1)
        rows[vocabulary] = (ids, summed)
    return Gradients(dense, rows)


def _aligned_rows(gradients: list[Gradients], vocabulary: str, name: str) -> tuple[Tensor, Tensor]:
    """Aligns the rows of a table in k gradients.

    Returns:
        The ids of all gradients (n,), and each gradient's rows for these ids, zero where it has none (k, n, dim).
    """
    ids_of = [gradient.rows[vocabulary][0] for gradient in gradients]
    rows_of = [gradient.rows[vocabulary][1][name] for gradient in gradients]
    ids = torch.unique(torch.cat(ids_of))
    aligned = rows_of[0].new_zeros(len(gradients), len(ids), rows_of[0].shape[1])
    for index, (gradient_ids, rows) in enumerate(zip(ids_of, rows_of, strict=True)):
        aligned[index, torch.searchsorted(ids, gradient_ids)] = rows
    return ids, aligned
