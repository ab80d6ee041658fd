"""The directions in which domains differ, for framework "subspace".

Our own, by an argument of empirical Bayes. The theta^i of large domains, learned apart, tell how theta^i is spread over
domains. A small domain cannot learn a network of its own from its few rows, but it can learn its place in that spread.
"""

import torch
from torch import Tensor


def find_directions(offsets: Tensor, rows: Tensor, rank: int) -> Tensor:
    """The principal axes of theta^i over domains, each as long as the standard deviation along it.

    So z . directions, with z standard normal, is spread as the offsets are.

    Args:
        offsets: theta^i of each domain, shape (domains, values). rows: what each domain counts, shape (domains,).

    Returns:
        shape (rank, values); fewer axes if there are fewer domains or values.
    """
    weights = (rows.to(offsets) / rows.sum()).sqrt()
    _, lengths, axes = torch.linalg.svd(weights.unsqueeze(1) * offsets, full_matrices=False)
    return (lengths[:rank].unsqueeze(1) * axes[:rank]).contiguous()
