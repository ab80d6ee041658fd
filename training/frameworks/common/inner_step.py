"""Takes inner steps: gradients of an objective on one batch, and an Adam step on the parameters that it touches."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import binary_cross_entropy_with_logits

from training.data.id_numbering import renumber_ids
from training.data.patch import Batch
from training.errors import UserError
from training.frameworks.common.gradients import Gradients, mean_over_ranks
from training.parameters.adam import Moments
from training.parameters.frozen_statistics import frozen_statistics

if TYPE_CHECKING:
    from training.distributed.ranks import Ranks
    from training.parameters.shared import SharedParameters

FEWEST_ROWS = 8  # batches with fewer rows leave statistics alone: a single row cannot be normalised

T = TypeVar("T")
Leaves = Mapping[str, Tensor]  # what is differentiated: dense parameters, and the embedding rows of a batch
Forward = Callable[[Leaves, Mapping[str, Tensor]], Tensor]  # (leaves, features) -> logits, shape (rows,)
Objective = Callable[[Forward, Leaves, Batch], Tensor]  # a scalar to minimise; ids of the batch are rows of the leaves


def mean_loss(forward: Forward, leaves: Leaves, batch: Batch) -> Tensor:
    """Computes the mean cross-entropy of a batch."""
    return binary_cross_entropy_with_logits(forward(leaves, batch.features), batch.labels)


class InnerOptimizer:
    """Minimises an objective by Adam, batch by batch, touching only the embedding rows of the batch.

    The module is called with its tables replaced by the rows of the batch, and with ids that number these rows. So it
    need not know where its tables are, and the gradient of a table is as small as the batch.
    """

    def __init__(self, model: nn.Module, lr: float, on_rows: Callable[[int], object] = lambda rows: None) -> None:
        """Creates an optimiser whose moments are zero.

        Args:
            model: the backbone.
            lr: the learning rate.
            on_rows: is called with the number of rows of each batch.
        """
        self.model, self.lr, self._on_rows = model, lr, on_rows
        self.moments = Moments()
        self._batches = 0

    def reset(self) -> None:
        """Sets all moments to zero."""
        self.moments = Moments()

    def step(self, parameters: "SharedParameters", batch: Batch) -> None:
        """Takes one step on `parameters`, in place, to reduce the mean loss of `batch`."""
        self.apply(parameters, self.gradients(parameters, batch))

    def gradients(self, parameters: "SharedParameters", batch: Batch, objective: Objective = mean_loss) -> Gradients:
        """Computes the gradients at `parameters`. The forward pass updates their statistics in place.

        Raises:
            UserError: the objective is NaN or infinite.
        """
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
            domains = _list_domains(parameters, batch)
            raise UserError(
                f"loss is {loss.item()} in step {self._batches}, in a batch of domain_id {domains}: "
                "try a lower framework.inner_lr; the same command resumes from the last epoch's checkpoint"
            )
        values = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
        parameters.write_statistics(statistics, ids)
        self._on_rows(len(batch))
        by_name = dict(zip(leaves, values, strict=True))
        return Gradients(
            {name: by_name[name] for name in parameters.dense},
            {
                vocabulary: (ids[vocabulary], {name: by_name[name] for name in parameters.tables_of(vocabulary)})
                for vocabulary in parameters.features_of
            },
        )

    @torch.no_grad()
    def apply(self, parameters: "SharedParameters", gradients: Gradients) -> None:
        """Takes one Adam step on `parameters`, in place."""
        self.moments.begin_step()
        for name, gradient in gradients.dense.items():
            self.moments.update_(name, parameters.dense[name], gradient, self.lr)
        for vocabulary, (ids, by_table) in gradients.rows.items():
            tables = parameters.tables_of(vocabulary)
            for name, gradient in by_table.items():
                self.moments.update_rows_(name, tables[name], ids, gradient, self.lr)

    def step_together(
        self, parameters: "SharedParameters", items: Sequence[T], gradients: Callable[[T], Gradients], ranks: "Ranks"
    ) -> None:
        """Takes one step for each item, by the mean of `gradients(item)` over the ranks that still have an item.

        Each rank updates its own statistics, which are averaged over the ranks at the end.
        """
        steps = ranks.max("steps", len(items))
        for index in range(steps):
            rank_gradients = gradients(items[index]) if index < len(items) else None
            self.apply(parameters, mean_over_ranks(rank_gradients, parameters, ranks))
        for name, value in ranks.mean("statistics", parameters.statistics).items():
            parameters.statistics[name].copy_(value)


def _list_domains(parameters: "SharedParameters", batch: Batch) -> str:
    """Lists the first domains of a batch for an error message."""
    domains = torch.unique(batch.features["domain_id"])
    if "domain_id" in parameters.ids:
        domains = parameters.ids["domain_id"][domains]
    return ", ".join(map(str, domains[:5].tolist())) + (", ..." if len(domains) > 5 else "")
