"""Gradients of an objective on one batch, and their mean over ranks."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from training.distributed.ranks import Ranks
    from training.parameters.shared import SharedParameters


@dataclass
class Gradients:
    """Holds the gradients of an objective.

    Attributes:
        dense: by parameter name.
        rows: for each vocabulary the sorted distinct ids of the batch (n,), and by table the gradients of their rows
            (n, dim).
    """

    dense: dict[str, Tensor]
    rows: dict[str, tuple[Tensor, dict[str, Tensor]]]


def mean_over_ranks(gradients: Gradients | None, parameters: "SharedParameters", ranks: "Ranks") -> Gradients:
    """Averages gradients over the ranks that have some. Every rank must call it.

    Args:
        gradients: this rank's; None if it has no batch left.
        parameters: the parameters that they belong to.
        ranks: all ranks, of which at least one has gradients.

    Returns:
        The mean gradients. For tables in a sharded cache, only those of the rows that this rank has cached.
    """
    if gradients is not None and ranks.size == 1:
        return gradients
    active = parameters.like.new_tensor([float(gradients is not None)])
    gradients = gradients or _no_gradients(parameters)
    summed = ranks.sum("gradients.dense", {**gradients.dense, "": active})
    count = summed.pop("").item()
    rows = {}
    for vocabulary, (ids, tables) in gradients.rows.items():
        cached_ids = parameters.ids.get(vocabulary)
        global_ids = ids if cached_ids is None else cached_ids[ids]
        all_ids, sums, _ = ranks.sum_rows(f"gradients.{vocabulary}", global_ids, tables)
        if cached_ids is not None:
            is_cached = torch.isin(all_ids, cached_ids, assume_unique=True)
            all_ids = torch.searchsorted(cached_ids, all_ids[is_cached])
            sums = {name: total[is_cached] for name, total in sums.items()}
        rows[vocabulary] = (all_ids, {name: total / count for name, total in sums.items()})
    return Gradients({name: total / count for name, total in summed.items()}, rows)


def _no_gradients(parameters: "SharedParameters") -> Gradients:
    """Returns the gradients of a rank without a batch: zeros, and no rows."""
    return Gradients(
        {name: torch.zeros_like(value) for name, value in parameters.dense.items()},
        {
            vocabulary: (
                parameters.like.new_empty(0, dtype=torch.int64),
                {name: table[:0] for name, table in parameters.tables_of(vocabulary).items()},
            )
            for vocabulary in parameters.features_of
        },
    )
