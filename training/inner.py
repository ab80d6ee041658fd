"""The inner step: gradients of one batch, and Adam on the parameters that it touches."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import binary_cross_entropy_with_logits

from training.adam import Moments
from training.batches import Batch
from training.parameters import Parameters
from training.ranks import Ranks


@dataclass
class Gradients:
    """The gradients of a mean loss.

    Attributes:
        dense: by parameter name.
        rows: for each looked-up feature the distinct ids (n,) and, by table, their gradients (n, dim).
    """

    dense: dict[str, Tensor]
    rows: dict[str, tuple[Tensor, dict[str, Tensor]]]


class InnerOptimizer:
    """Steps parameters down the gradient of a batch's mean cross-entropy by Adam, touching only rows in the batch.

    The module is called with its tables replaced by the rows of the batch and its ids by their numbers in them,
    so it need not know that its tables are elsewhere, and the gradient of a table is as small as the batch.
    """

    def __init__(self, model: nn.Module, lr: float, on_step: Callable[[int], object] = lambda rows: None) -> None:
        self.model, self.lr, self._on_step = model, lr, on_step
        self.moments = Moments()

    def reset(self) -> None:
        """Forgets the moments."""
        self.moments = Moments()

    def step(self, parameters: Parameters, batch: Batch) -> None:
        """One step on `parameters`, in place."""
        self.apply(parameters, self.gradients(parameters, batch))
        self._on_step(len(batch))

    def gradients(self, parameters: Parameters, batch: Batch) -> Gradients:
        features, ids = dict(batch.features), {}
        for name in parameters.features:
            ids[name], features[name] = torch.unique(batch.features[name], return_inverse=True)
        leaves = {name: value.detach().requires_grad_() for name, value in parameters.dense.items()}
        for name, table in parameters.tables.items():
            leaves[name] = table[ids[parameters.feature_of[name]]].requires_grad_()
        frozen = {name: table[ids[parameters.feature_of[name]]] for name, table in parameters.frozen.items()}
        logits = functional_call(self.model, {**leaves, **frozen}, (features,))
        loss = binary_cross_entropy_with_logits(logits, batch.labels)
        found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        by_name = {
            name: torch.zeros_like(leaf) if gradient is None else gradient
            for (name, leaf), gradient in zip(leaves.items(), found, strict=True)
        }
        return Gradients(
            {name: by_name[name] for name in parameters.dense},
            {
                feature: (ids[feature], {name: by_name[name] for name in parameters.tables_of(feature)})
                for feature in parameters.features
            },
        )

    @torch.no_grad()
    def apply(self, parameters: Parameters, gradients: Gradients) -> None:
        self.moments.begin_step()
        for name, gradient in gradients.dense.items():
            self.moments.update_(name, parameters.dense[name], gradient, self.lr)
        for ids, tables in gradients.rows.values():
            for name, gradient in tables.items():
                self.moments.update_rows_(name, parameters.tables[name], ids, gradient, self.lr)

    def step_together(self, parameters: Parameters, batches: list[Batch], ranks: Ranks) -> None:
        """Steps through `batches`, in each step with the mean gradient of the ranks that still have one."""
        steps = ranks.max("steps", len(batches))
        for index in range(steps):
            batch = batches[index] if index < len(batches) else None
            self.apply(parameters, self._mean_gradients(parameters, batch, ranks))
            self._on_step(len(batch) if batch else 0)

    def _mean_gradients(self, parameters: Parameters, batch: Batch | None, ranks: Ranks) -> Gradients:
        if ranks.size == 1:
            return self.gradients(parameters, batch)
        own = self.gradients(parameters, batch) if batch is not None else _no_gradients(parameters)
        like = next(iter(own.dense.values()))
        summed = ranks.sum("gradients.dense", {**own.dense, "": like.new_tensor([float(batch is not None)])})
        active = summed.pop("").item()
        rows = {}
        for feature, (ids, tables) in own.rows.items():
            all_ids, sums, _ = ranks.sum_rows(f"gradients.{feature}", ids, tables)
            rows[feature] = (all_ids, {name: total / active for name, total in sums.items()})
        return Gradients({name: total / active for name, total in summed.items()}, rows)


def _no_gradients(parameters: Parameters) -> Gradients:
    return Gradients(
        {name: torch.zeros_like(value) for name, value in parameters.dense.items()},
        {
            feature: (
                torch.empty(0, dtype=torch.int64),
                {name: table[:0] for name, table in parameters.tables_of(feature).items()},
            )
            for feature in parameters.features
        },
    )
