"""Runs training while workers join and leave: horovodrun --min-np 1 --max-np 3 --host-discovery-script ...

When a rank dies, the others return to the last checkpoint and repeat that epoch. The buckets of the epoch are divided
among the remaining ranks. Between two epochs, new ranks may join and others may leave. The state of every rank,
including its shards of tables, is on disk, so each epoch reads every row once whichever ranks run it.
"""

import os
from collections.abc import Callable
from typing import Generic, TypeVar

import horovod.torch as hvd
from horovod.common.elastic import ObjectState

Value = TypeVar("Value")
Result = TypeVar("Result")


def is_elastic() -> bool:
    """Returns whether horovodrun may change the number of ranks of this run."""
    return os.environ.get("HOROVOD_ELASTIC") == "1"


class PinnedState(ObjectState, Generic[Value]):
    """Holds a value that the first ranks of a run choose. Ranks that join later receive it from them.

    Attributes:
        value: None until the first ranks have chosen it.
    """

    value: Value | None

    def __init__(self) -> None:
        super().__init__(bcast_object=hvd.broadcast_object, get_rank=hvd.rank, value=None)

    def pin(self, choose: Callable[[], Value]) -> Value:
        """Returns the value of this run; calls `choose` for it the first time."""
        if self.value is None:
            self.value = choose()
            self.save()
        return self.value


def run_elastically(train: Callable[[PinnedState], Result]) -> Result:
    """Calls `train` on each rank, again after every change of the ranks, and returns its result.

    `train` must resume from what is on disk. It must call `check_host_updates` of its argument where that is complete:
    the call interrupts it if the hosts have changed.
    """
    hvd.init()
    return hvd.elastic.run(train)(PinnedState())
