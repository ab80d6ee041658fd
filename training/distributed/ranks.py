"""Wraps the collective operations of a run. Each has a name, and all are no-ops on a single rank."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from training.distributed.stall_watch import StallWatch
from training.errors import UserError

T = TypeVar("T")


class Ranks:
    """Represents the ranks (workers) of a run; all ranks must make the same calls in the same order.

    Attributes:
        rank, size: the number of this rank, from 0, and how many ranks the run has.
        local_rank, local_size: the same, counted on this machine.
        bytes_sent: bytes of tensors that this rank sent to others. An allreduce counts as a ring; an allgather sends
            its tensor once to each other rank.
        seconds: time spent in `timed` blocks, by phase of a round.
        watch: ends the run if a rank never reaches a collective.
    """

    def __init__(self) -> None:
        # Imported here, so that code which only reads a model does not need Horovod.
        import horovod.torch as hvd

        hvd.init()
        self._hvd = hvd
        self.rank, self.size = hvd.rank(), hvd.size()
        self.local_rank, self.local_size = hvd.local_rank(), hvd.local_size()
        self.bytes_sent = 0
        self.seconds: dict[str, float] = defaultdict(float)
        self.watch = StallWatch(self.rank, self.size)

    @property
    def is_root(self) -> bool:
        """Returns whether this is rank 0."""
        return self.rank == 0

    def on_root(self, name: str, function: Callable[[], T]) -> T:
        """Calls `function` on rank 0 and returns its result on every rank.

        Raises:
            UserError: `function` raised it; the other ranks exit with code 2, so that it is printed once.
        """
        outcome: tuple[T | None, str | None] = None, None
        if self.is_root:
            try:
                outcome = function(), None
            except UserError as raised:
                outcome = None, str(raised)
        if self.size > 1:
            with self.watch.waiting(name):
                outcome = self._hvd.broadcast_object(outcome, root_rank=0, name=name)
        result, error = outcome
        if error is not None:
            raise UserError(error) if self.is_root else SystemExit(2)
        return cast(T, result)

    def on_machines(self, name: str, function: Callable[[], T], apart: bool) -> T:
        """Calls `on_root`, and then `function` once on each other machine if their folders are `apart`.

        Use it for a function that writes files which every machine needs.
        """
        result = self.on_root(name, function)
        if apart:
            if self.local_rank == 0 and not self.is_root:
                function()
            self.wait()
        return result

    def gather(self, name: str, array: np.ndarray) -> np.ndarray:
        """Concatenates the arrays of all ranks along the first axis, in the order of the ranks."""
        if self.size == 1:
            return array
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        self._count(tensor, self.size - 1)
        with self.watch.waiting(name):
            return self._hvd.allgather(tensor, name=name).numpy()

    def gather_objects(self, name: str, value: T) -> list[T]:
        """Returns the values of all ranks, in the order of the ranks."""
        if self.size == 1:
            return [value]
        with self.watch.waiting(name):
            return self._hvd.allgather_object(value, name=name)

    def max(self, name: str, value: int) -> int:
        """Returns the largest value of all ranks."""
        return int(self.gather(name, np.array([value])).max())

    def mean(self, name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns the mean over ranks of each tensor, by one grouped allreduce."""
        return self._reduce(name, tensors, self._hvd.Average)

    def sum(self, name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns the sum over ranks of each tensor, by one grouped allreduce."""
        return self._reduce(name, tensors, self._hvd.Sum)

    def _reduce(self, name: str, tensors: dict[str, Tensor], operation: int) -> dict[str, Tensor]:
        if self.size == 1 or not tensors:
            return tensors
        for tensor in tensors.values():
            self._count(tensor, 2 * (self.size - 1) / self.size)
        with self.timed("allreduce"), self.watch.waiting(name):
            reduced = self._hvd.grouped_allreduce(list(tensors.values()), name=name, op=operation)
        return dict(zip(tensors, reduced, strict=True))

    def sum_rows(self, name: str, ids: Tensor, tables: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Sums rows of tables over the ranks that have them. Traffic depends on the rows, not on the tables' size.

        Args:
            ids: int64, shape (n,), distinct; n may differ between ranks.
            tables: for each table the rows of those ids, shape (n, dim).

        Returns:
            The ids of all ranks, sorted, shape (m,); the sums for each table, shape (m, dim); and how many ranks have
            each id, shape (m,).

        Example: rank 0 has ids [1, 3] with rows [[1.], [2.]], and rank 1 has ids [3] with rows [[5.]]. Both get
        ids [1, 3], sums [[1.], [7.]] and counts [1, 2].
        """
        if self.size == 1:
            return ids, tables, torch.ones_like(ids)
        for tensor in (ids, *tables.values()):
            self._count(tensor, self.size - 1)
        with self.timed("push"), self.watch.waiting(name):
            handles = {"": self._hvd.allgather_async(ids, name=f"{name}.ids")}
            for table, rows in tables.items():
                handles[table] = self._hvd.allgather_async(rows, name=f"{name}.{table}")
            gathered = {table: self._hvd.synchronize(handle) for table, handle in handles.items()}
        all_ids, inverse, counts = torch.unique(gathered.pop(""), return_inverse=True, return_counts=True)
        sums = {
            table: torch.zeros(len(all_ids), rows.shape[1], dtype=rows.dtype, device=rows.device).index_add_(
                0, inverse, rows
            )
            for table, rows in gathered.items()
        }
        return all_ids, sums, counts

    def exchange(self, name: str, rows: Tensor, splits: Tensor) -> tuple[Tensor, Tensor]:
        """Sends the first splits[0] of `rows` to rank 0, the next splits[1] to rank 1, and so on.

        Returns:
            The rows received, ordered by the rank that sent them, and how many came from each rank.

        Example: rank 0 sends [1, 2, 3] with splits [1, 2], and rank 1 sends [4, 5] with splits [2, 0]. Rank 0 gets
        [1, 4, 5] and [1, 2]; rank 1 gets [2, 3] and [2, 0].
        """
        if self.size == 1:
            return rows, splits
        self._count(rows, 1 - splits[self.rank].item() / max(len(rows), 1))
        with self.watch.waiting(name):
            return self._hvd.alltoall(rows.contiguous(), splits=splits.int(), name=name)

    def wait(self) -> None:
        """Waits until all ranks have called it."""
        if self.size > 1:
            with self.timed("wait"), self.watch.waiting("a barrier"):
                self._hvd.barrier()

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Adds the duration of the block to `seconds[phase]`."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[phase] += time.monotonic() - start

    def _count(self, tensor: Tensor, times: float) -> None:
        self.bytes_sent += round(tensor.numel() * tensor.element_size() * times)
