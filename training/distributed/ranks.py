"""Horovod as the trainer uses it: few collectives, each named, all of them no-ops on one rank."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from training.distributed.stall_watch import StallWatch
from training.errors import UserError

T = TypeVar("T")


class Ranks:
    """The workers of one run. Ranks must make the same calls in the same order.

    Attributes:
        rank: this worker, from 0. size: the number of workers. local_size: those on this machine.
        bytes_sent: of tensors, by this worker to others: in an allreduce as in a ring, in an allgather once to each.
        seconds: by part of a round, what was spent in `timed` blocks.
        watch: ends the run where a rank never comes to a collective.
    """

    def __init__(self) -> None:
        import horovod.torch as hvd  # here, so that whatever only reads a model needs no Horovod

        hvd.init()
        self._hvd = hvd
        self.rank, self.size = hvd.rank(), hvd.size()
        self.local_rank, self.local_size = hvd.local_rank(), hvd.local_size()
        self.bytes_sent = 0
        self.seconds = Counter()
        self.watch = StallWatch(self.rank, self.size)

    @property
    def is_root(self) -> bool:
        return self.rank == 0

    def on_root(self, name: str, function: Callable[[], T]) -> T:
        """What `function` returns on rank 0, on every rank. A UserError there is raised everywhere."""
        result = error = None
        if self.is_root:
            try:
                result = function()
            except UserError as raised:
                error = str(raised)
        if self.size > 1:
            with self.watch.waiting(name):
                result, error = self._hvd.broadcast_object((result, error), root_rank=0, name=name)
        if error is not None:
            raise UserError(error) if self.is_root else SystemExit(2)
        return result

    def on_machines(self, name: str, function: Callable[[], T], apart: bool) -> T:
        """`on_root`; where machines have folders apart, `function` then runs on the others, too, for what it leaves."""
        result = self.on_root(name, function)
        if apart:
            if self.local_rank == 0 and not self.is_root:
                function()
            self.wait()
        return result

    def gather(self, name: str, array: np.ndarray) -> np.ndarray:
        """The arrays of all ranks, one after the other along the first axis."""
        if self.size == 1:
            return array
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        self._count(tensor, self.size - 1)
        with self.watch.waiting(name):
            return self._hvd.allgather(tensor, name=name).numpy()

    def gather_objects(self, name: str, value: T) -> list[T]:
        """What all ranks give, in their order."""
        if self.size == 1:
            return [value]
        with self.watch.waiting(name):
            return self._hvd.allgather_object(value, name=name)

    def max(self, name: str, value: int) -> int:
        return int(self.gather(name, np.array([value])).max())

    def mean(self, name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The mean over ranks of each tensor, by one grouped allreduce."""
        return self._reduce(name, tensors, self._hvd.Average)

    def sum(self, name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
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
        """Adds up rows of tables over the ranks that have them; the traffic follows the rows, not the tables.

        Args:
            ids: int64, shape (n,), distinct; n differs by rank.
            tables: for each table the rows of those ids, shape (n, dim).

        Returns:
            The ids of all ranks (m,), sorted; the sums (m, dim); by how many ranks each row was given (m,).

        Example, two ranks: ids [1, 3] with rows [[1.], [2.]], and ids [3] with rows [[5.]], give ids [1, 3],
        sums [[1.], [7.]] and counts [1, 2].
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
            The rows that came, those of rank 0 first, and how many came from each rank.

        Example, two ranks: rank 0 sends [1, 2, 3] by [1, 2], rank 1 [4, 5] by [2, 0]; rank 0 gets [1, 4, 5] and
        [1, 2], rank 1 gets [2, 3] and [2, 0].
        """
        if self.size == 1:
            return rows, splits
        self._count(rows, 1 - splits[self.rank].item() / max(len(rows), 1))
        with self.watch.waiting(name):
            return self._hvd.alltoall(rows.contiguous(), splits=splits.int(), name=name)

    def wait(self) -> None:
        """Returns when all ranks have come here."""
        if self.size > 1:
            with self.timed("wait"), self.watch.waiting("a barrier"):
                self._hvd.barrier()

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Adds the time of the block to `seconds`."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[part] += time.monotonic() - start

    def _count(self, tensor: Tensor, times: float) -> None:
        self.bytes_sent += round(tensor.numel() * tensor.element_size() * times)
