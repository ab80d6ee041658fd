"""Run by test_watch.py: rank 1 does not come to the second collective."""

import os
import signal
import sys
import time

import numpy as np

from training.distributed.ranks import Ranks


def main(fault):
    ranks = Ranks()
    ranks.gather("first", np.zeros(1))
    ranks.watch.place = "round 3 of epoch 2"
    time.sleep(1)  # this is told to the others
    if ranks.rank == 1:
        if fault == "hangs":
            time.sleep(300)
        os.kill(os.getpid(), {"stops": signal.SIGSTOP, "is killed": signal.SIGKILL}[fault])
    ranks.gather("second", np.zeros(1))


if __name__ == "__main__":
    main(sys.argv[1])
