"""A run of two ranks in which rank 1 never reaches the second collective; test_stall_watch.py starts it."""

import os
import signal
import sys
import time

import numpy as np

from training.distributed.ranks import Ranks


def main(fault):
    ranks = Ranks()
    ranks.gather("first", np.zeros(1))
    ranks.watch.activity = "round 3 of epoch 2"
    time.sleep(1)  # the watch reports the activity meanwhile
    if ranks.rank == 1:
        if fault == "hangs":
            time.sleep(300)
        os.kill(os.getpid(), {"stops": signal.SIGSTOP, "is killed": signal.SIGKILL}[fault])
    ranks.gather("second", np.zeros(1))


if __name__ == "__main__":
    main(sys.argv[1])
