"""Training while workers come and go: horovodrun --min-np 1 --max-np 3 --host-discovery-script ...

When a rank dies, the others go back to the last checkpoint and run that epoch again, with its buckets shared out among
those that are left; new ranks join, and others leave, between two epochs. What a rank owned, of sharded tables too, is
on disk, so that an epoch reads every row once whoever runs it.
"""

import os
from collections.abc import Callable
from typing import TypeVar

import horovod.torch as hvd
from horovod.common.elastic import ObjectState

from training.data.snapshot import Snapshot

T = TypeVar("T")


def is_elastic() -> bool:
    """Whether horovodrun may change the number of this run's ranks."""
    return os.environ.get("HOROVOD_ELASTIC") == "1"


class Pinned(ObjectState):
    """What a run keeps when its ranks change, the same on those that join.

    Attributes:
        snapshot: the versions that it reads; None until the first ranks have chosen them.
    """

    snapshot: Snapshot | None

    def __init__(self) -> None:
        super().__init__(bcast_object=hvd.broadcast_object, get_rank=hvd.rank, snapshot=None)

    def pin(self, take: Callable[[], Snapshot]) -> Snapshot:
        """The snapshot that the run began with, which `take` makes."""
        if self.snapshot is None:
            self.snapshot = take()
            self.save()
        return self.snapshot


def run_elastically(train: Callable[[Pinned], T]) -> T:
    """What `train` returns, which is called again on each rank whenever the ranks have changed.

    `train` must go on from what is on disk, and let `check_host_updates` interrupt it where that is complete.
    """
    hvd.init()
    return hvd.elastic.run(train)(Pinned())
