"""Where and how torch computes."""

import ctypes
import os

import numpy as np
import torch

from training.errors import UserError

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt


def choose_device(name: str, local_rank: int, local_size: int) -> torch.device:
    """The device of one of `local_size` processes on this machine: `auto` takes a GPU where there is one.

    Raises:
        UserError: `name` is cuda and there is none, or fewer than processes.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("training.device is cuda, but torch finds no GPU: set training.device=cpu")
    if name != "cpu" and torch.cuda.is_available():
        found = torch.cuda.device_count()
        if local_size > found:
            raise UserError(
                f"there are {local_size} ranks on this machine, which has {found} GPU{'s' * (found > 1)}: "
                "start one for each GPU, or set training.device=cpu"
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
        return device
    cores = len(os.sched_getaffinity(0))
    use_cpu(threads=int(os.environ.get("OMP_NUM_THREADS", max(1, cores // local_size))))
    return torch.device("cpu")


def use_cpu(threads: int) -> None:
    """Sets the threads of this process, and saves it two wastes of time.

    Numbers too small for a normal float become zero: the Adam moments of a unit that no longer learns decay into that
    range, where the CPU is ten times slower. And up to 1 GiB of freed memory is kept: groups of theta^i make and free
    tensors of many megabytes in every step, and pages that come anew from the system cost a tenth of the time of DR.
    """
    for kind in (np.float32, np.float64):
        np.finfo(kind)  # NumPy looks these limits up once, and warns where it finds no subnormal numbers
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):  # glibc has it
        library.mallopt(MMAP_THRESHOLD, 32 << 20)
        library.mallopt(TRIM_THRESHOLD, 1 << 30)
