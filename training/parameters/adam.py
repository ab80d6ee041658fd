"""Takes Adam steps (Kingma and Ba, ICLR 2015) in place, on dense tensors and on single rows of tables."""

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

BETAS = (0.9, 0.999)
EPSILON = 1e-8

Number = TypeVar("Number", float, np.ndarray)


def bias_corrected(lr: float, step: Number) -> tuple[Number, Number]:
    """Returns Adam's step size and denominator scale with bias correction, for moments that started at zero.

    Args:
        lr: the learning rate.
        step: the number of the step, from 1.

    Returns:
        lr / (1 - beta_1^step) and sqrt(1 - beta_2^step).
    """
    return lr / (1 - BETAS[0] ** step), (1 - BETAS[1] ** step) ** 0.5


def adam_(
    value: Tensor,
    gradient: Tensor,
    first: Tensor,
    second: Tensor,
    step_size: float | Tensor,
    denominator_scale: float | Tensor,
) -> None:
    """Takes one Adam step on `value` and its moments, all of one shape, in place.

    Args:
        value: the parameter.
        gradient: its gradient.
        first: the first moment.
        second: the second moment.
        step_size: from `bias_corrected`, or a tensor of step sizes that broadcasts against `value`.
        denominator_scale: likewise.
    """
    first.lerp_(gradient, 1 - BETAS[0])
    second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
    # The usual denominator times denominator_scale, which the step size makes up for: this saves a pass over `second`.
    denominator = second.sqrt().add_(EPSILON * denominator_scale)
    rate = step_size * denominator_scale
    if isinstance(rate, Tensor):
        value.sub_(first.mul(rate).div_(denominator))
    else:
        value.addcdiv_(first, denominator, value=-rate)


class Moments:
    """Holds Adam's moments of named tensors, zero until they are first used.

    The moments of a table's row stay as they are while the row is not in a batch, as in torch.optim.SparseAdam. A
    dense Adam would move every row in every step, and would touch the whole table to do so.
    """

    def __init__(self) -> None:
        self.step_count = 0
        self.first: dict[str, Tensor] = {}
        self.second: dict[str, Tensor] = {}

    def begin_step(self) -> None:
        """Counts a step. Call it once before the updates of a step."""
        self.step_count += 1

    def update_(self, name: str, value: Tensor, gradient: Tensor, lr: float) -> None:
        """Takes a step on all of `value`."""
        first, second = self._of(name, value)
        adam_(value, gradient, first, second, *bias_corrected(lr, self.step_count))

    def update_rows_(self, name: str, table: Tensor, ids: Tensor, gradient: Tensor, lr: float) -> None:
        """Takes a step on the rows of distinct `ids` of `table`, with `gradient` of shape (len(ids), dim)."""
        first, second = self._of(name, table)
        rows, first_rows, second_rows = table[ids], first[ids], second[ids]
        adam_(rows, gradient, first_rows, second_rows, *bias_corrected(lr, self.step_count))
        for target, updated in ((table, rows), (first, first_rows), (second, second_rows)):
            target.index_copy_(0, ids, updated)

    def _of(self, name: str, value: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the moments of a tensor, which are created on first use."""
        if name not in self.first:
            self.first[name], self.second[name] = torch.zeros_like(value), torch.zeros_like(value)
        return self.first[name], self.second[name]

    def state(self) -> dict[str, Tensor]:
        """Returns everything to save, as named tensors."""
        state = {"step": torch.tensor(self.step_count)}
        for moment in ("first", "second"):
            state.update({f"{moment}.{name}": value for name, value in getattr(self, moment).items()})
        return state

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restores what `state` returned."""
        self.step_count = int(state["step"])
        for moment in ("first", "second"):
            prefix = f"{moment}."
            values = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            setattr(self, moment, values)
