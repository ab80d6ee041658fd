"""Where and how torch computes."""

import os

import numpy as np
import torch

from training.errors import UserError


def choose_device(name: str, local_rank: int, local_size: int) -> torch.device:
    """The device of one of `local_size` processes on this machine: `auto` takes a GPU where there is one.

    Raises:
        UserError: `name` is cuda and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("training.device is cuda, but torch finds no GPU: set training.device=cpu")
    if name != "cpu" and torch.cuda.is_available():
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
        return device
    cores = len(os.sched_getaffinity(0))
    use_cpu(threads=int(os.environ.get("OMP_NUM_THREADS", max(1, cores // local_size))))
    return torch.device("cpu")


def use_cpu(threads: int) -> None:
    """Sets the threads of this process, and lets numbers too small for a normal float be zero.

    The Adam moments of a unit that no longer learns decay into that range, where the CPU is ten times slower.
    """
    for kind in (np.float32, np.float64):
        np.finfo(kind)  # NumPy looks these limits up once, and warns where it finds no subnormal numbers
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
