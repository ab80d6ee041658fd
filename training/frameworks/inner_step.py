"""The inner step: gradients of an objective on one batch, and Adam on the parameters that it touches."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import binary_cross_entropy_with_logits

from training.data.id_numbering import renumber_ids
from training.data.patch import Batch
from training.distributed.ranks import Ranks
from training.errors import UserError
from training.parameters.adam import Moments
from training.parameters.frozen_statistics import frozen_statistics
from training.parameters.shared import SharedParameters

FEWEST_ROWS = 8  # that tell statistics anything: a batch normalisation cannot normalise a single row

T = TypeVar("T")
Leaves = Mapping[str, Tensor]  # the values that are differentiated: dense parameters, and the rows in a batch
Forward = Callable[[Leaves, Mapping[str, Tensor]], Tensor]  # (leaves, features) -> logits, shape (rows,)
Objective = Callable[[Forward, Leaves, Batch], Tensor]  # a scalar to minimise; ids in the batch number leaves


def mean_loss(forward: Forward, leaves: Leaves, batch: Batch) -> Tensor:
    """The mean cross-entropy of a batch."""
    return binary_cross_entropy_with_logits(forward(leaves, batch.features), batch.labels)


@dataclass
class Gradients:
    """The gradients of an objective.

    Attributes:
        dense: by parameter name.
        rows: for each vocabulary the distinct ids (n,), sorted, and, by table, their gradients (n, dim).
    """

    dense: dict[str, Tensor]
    rows: dict[str, tuple[Tensor, dict[str, Tensor]]]


class InnerOptimizer:
    """Steps parameters down the gradient of an objective by Adam, touching only rows in the batch.

    The module is called with its tables replaced by the rows of the batch and its ids by their numbers in them,
    so it need not know that its tables are elsewhere, and the gradient of a table is as small as the batch.
    """

    def __init__(self, model: nn.Module, lr: float, on_rows: Callable[[int], object] = lambda rows: None) -> None:
        """Args:
        on_rows: is told the number of rows of each batch.
        """
        self.model, self.lr, self._on_rows = model, lr, on_rows
        self.moments = Moments()
        self._batches = 0

    def reset(self) -> None:
        """Forgets the moments."""
        self.moments = Moments()

    def step(self, parameters: SharedParameters, batch: Batch) -> None:
        """One step on `parameters`, in place."""
        self.apply(parameters, self.gradients(parameters, batch))

    def gradients(self, parameters: SharedParameters, batch: Batch, objective: Objective = mean_loss) -> Gradients:
        """The gradients at `parameters`, whose statistics the forward pass moves. Raises UserError if one is NaN."""
        self._batches += 1
        ids, features = renumber_ids(batch.features, parameters.features_of)
        leaves = {name: value.detach().requires_grad_() for name, value in parameters.dense.items()}
        leaves |= {name: rows.requires_grad_() for name, rows in parameters.rows(parameters.tables, ids).items()}
        statistics = {**parameters.statistics, **parameters.rows(parameters.statistics, ids)}
        fixed = {**parameters.rows(parameters.frozen, ids), **statistics}

        def forward(leaves: Leaves, features: Mapping[str, Tensor]) -> Tensor:
            few = len(features["domain_id"]) < FEWEST_ROWS
            with frozen_statistics(self.model) if few else nullcontext():
                return functional_call(self.model, {**leaves, **fixed}, (features,))

        loss = objective(forward, leaves, Batch(features, batch.labels))
        if not torch.isfinite(loss):
            domains = _domains(parameters, batch)
            raise UserError(
                f"loss is {loss.item()} in step {self._batches}, in a batch of domain_id {domains}: "
                "a lower framework.inner_lr may help, and the same command goes on from the last epoch's checkpoint"
            )
        found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
        parameters.write_rows(statistics, ids)
        self._on_rows(len(batch))
        by_name = dict(zip(leaves, found, strict=True))
        return Gradients(
            {name: by_name[name] for name in parameters.dense},
            {
                vocabulary: (ids[vocabulary], {name: by_name[name] for name in parameters.tables_of(vocabulary)})
                for vocabulary in parameters.features_of
            },
        )

    @torch.no_grad()
    def apply(self, parameters: SharedParameters, gradients: Gradients) -> None:
        self.moments.begin_step()
        for name, gradient in gradients.dense.items():
            self.moments.update_(name, parameters.dense[name], gradient, self.lr)
        for ids, tables in gradients.rows.values():
            for name, gradient in tables.items():
                self.moments.update_rows_(name, parameters.tables[name], ids, gradient, self.lr)

    def step_together(
        self, parameters: SharedParameters, items: Sequence[T], gradients: Callable[[T], Gradients], ranks: Ranks
    ) -> None:
        """A step for each of `items`, with the mean of `gradients(item)` over the ranks that still have one.

        Statistics are moved by each rank on its own, and averaged over the ranks at the end.
        """
        steps = ranks.max("steps", len(items))
        for index in range(steps):
            own = gradients(items[index]) if index < len(items) else None
            self.apply(parameters, _mean_over_ranks(own, parameters, ranks))
        for name, value in ranks.mean("statistics", parameters.statistics).items():
            parameters.statistics[name].copy_(value)


def _mean_over_ranks(own: Gradients | None, parameters: SharedParameters, ranks: Ranks) -> Gradients:
    if ranks.size == 1:
        return own
    active = parameters.like.new_tensor([float(own is not None)])
    own = own or _no_gradients(parameters)
    summed = ranks.sum("gradients.dense", {**own.dense, "": active})
    count = summed.pop("").item()
    rows = {}
    for vocabulary, (ids, tables) in own.rows.items():
        known = parameters.ids.get(vocabulary)
        all_ids, sums, _ = ranks.sum_rows(f"gradients.{vocabulary}", ids if known is None else known[ids], tables)
        if known is not None:  # of other ranks' rows, those that this one has too
            held = torch.isin(all_ids, known, assume_unique=True)
            all_ids = torch.searchsorted(known, all_ids[held])
            sums = {name: total[held] for name, total in sums.items()}
        rows[vocabulary] = (all_ids, {name: total / count for name, total in sums.items()})
    return Gradients({name: total / count for name, total in summed.items()}, rows)


def _no_gradients(parameters: SharedParameters) -> Gradients:
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


def _domains(parameters: SharedParameters, batch: Batch) -> str:
    """Which domains a batch is from."""
    domains = torch.unique(batch.features["domain_id"])
    if "domain_id" in parameters.ids:
        domains = parameters.ids["domain_id"][domains]
    return ", ".join(map(str, domains[:5].tolist())) + (", ..." if len(domains) > 5 else "")
