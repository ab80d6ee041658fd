"""Adam (Kingma and Ba, ICLR 2015), in place, on dense tensors and on single rows of tables."""

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

BETAS = (0.9, 0.999)
EPSILON = 1e-8

Number = TypeVar("Number", float, np.ndarray)


def bias_corrected(lr: float, step: Number) -> tuple[Number, Number]:
    """The rate and the spread of a step, which make up for moments that began at zero; `step` counts from 1."""
    return lr / (1 - BETAS[0] ** step), (1 - BETAS[1] ** step) ** 0.5


def adam_(
    value: Tensor, gradient: Tensor, first: Tensor, second: Tensor, rate: float | Tensor, spread: float | Tensor
) -> None:
    """One Adam step on `value` with its moments `first` and `second`, all of one shape.

    `rate` and `spread` are those of `bias_corrected`, or tensors of them that broadcast against `value`.
    """
    first.lerp_(gradient, 1 - BETAS[0])
    second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
    scale = second.sqrt().add_(EPSILON * spread)  # all divided by spread below, in one pass less
    if isinstance(rate, Tensor):
        value.sub_(first.mul(rate * spread).div_(scale))
    else:
        value.addcdiv_(first, scale, value=-rate * spread)


class Moments:
    """The moments of named tensors, zero until first used.

    A table's row keeps its moments while it is not in a batch, as in torch.optim.SparseAdam: a dense Adam would
    move every row in every step, at the price of touching the whole table.
    """

    def __init__(self) -> None:
        self.step_count = 0
        self.first: dict[str, Tensor] = {}
        self.second: dict[str, Tensor] = {}

    def begin_step(self) -> None:
        self.step_count += 1

    def update_(self, name: str, value: Tensor, gradient: Tensor, lr: float) -> None:
        """Steps the whole of `value`."""
        first, second = self._of(name, value)
        adam_(value, gradient, first, second, *bias_corrected(lr, self.step_count))

    def update_rows_(self, name: str, table: Tensor, ids: Tensor, gradient: Tensor, lr: float) -> None:
        """Steps the rows `ids` (distinct) of `table` by `gradient`, shape (len(ids), dim)."""
        first, second = self._of(name, table)
        rows, first_rows, second_rows = table[ids], first[ids], second[ids]
        adam_(rows, gradient, first_rows, second_rows, *bias_corrected(lr, self.step_count))
        for whole, part in ((table, rows), (first, first_rows), (second, second_rows)):
            whole.index_copy_(0, ids, part)

    def _of(self, name: str, value: Tensor) -> tuple[Tensor, Tensor]:
        if name not in self.first:
            self.first[name], self.second[name] = torch.zeros_like(value), torch.zeros_like(value)
        return self.first[name], self.second[name]

    def state(self) -> dict[str, Tensor]:
        """Everything there is to save, as named tensors."""
        state = {"step": torch.tensor(self.step_count)}
        for part in ("first", "second"):
            state.update({f"{part}.{name}": value for name, value in getattr(self, part).items()})
        return state

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.step_count = int(state["step"])
        for part in ("first", "second"):
            prefix = f"{part}."
            values = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            setattr(self, part, values)
