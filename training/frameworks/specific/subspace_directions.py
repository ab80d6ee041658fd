"""Finds the directions in which domains differ, for the framework "subspace".

The idea is this project's, by an argument of empirical Bayes. The theta^i of large domains, each learned alone, show
how theta^i varies over domains. A small domain has too few rows to learn a whole network, but enough to learn its
coordinates along the main directions of that variation.
"""

import torch
from torch import Tensor


def find_directions(offsets: Tensor, rows: Tensor, rank: int) -> Tensor:
    """Returns the principal axes of theta^i over domains, each as long as the standard deviation along it.

    So z . directions, with z standard normal, has the covariance of the offsets.

    Args:
        offsets: theta^i of each domain, shape (domains, values).
        rows: the weight of each domain, shape (domains,).
        rank: the number of axes.

    Returns:
        shape (rank, values); fewer axes if there are fewer domains or values.
    """
    weights = (rows.to(offsets) / rows.sum()).sqrt()
    _, lengths, axes = torch.linalg.svd(weights.unsqueeze(1) * offsets, full_matrices=False)
    return (lengths[:rank].unsqueeze(1) * axes[:rank]).contiguous()
