"""Chooses the device that torch computes on, and how many threads it uses."""

import ctypes
import os

import numpy as np
import torch

from training.errors import UserError

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt


def choose_device(name: str, local_rank: int, local_size: int) -> torch.device:
    """Returns the device for process `local_rank` of the `local_size` processes on this machine.

    Args:
        name: cpu, cuda, or auto, which takes a GPU if torch finds any.

    Raises:
        UserError: `name` is cuda but torch finds no GPU, or the machine has fewer GPUs than processes.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("training.device is cuda, but torch finds no GPU: set training.device=cpu")
    if name != "cpu" and torch.cuda.is_available():
        gpus = torch.cuda.device_count()
        if local_size > gpus:
            raise UserError(
                f"there are {local_size} ranks on this machine, which has {gpus} GPU{'s' * (gpus > 1)}: "
                "start one rank for each GPU, or set training.device=cpu"
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
        return device
    cores = len(os.sched_getaffinity(0))
    use_cpu(threads=int(os.environ.get("OMP_NUM_THREADS", max(1, cores // local_size))))
    return torch.device("cpu")


def use_cpu(threads: int) -> None:
    """Sets the number of torch's threads, and tunes this process for small steps on a CPU.

    Subnormal numbers are flushed to zero. The Adam moments of a unit that no longer learns decay into that range,
    where the CPU is ten times slower.

    Up to 1 GiB of freed memory stays with the process. Adapting groups of domains allocates and frees tensors of many
    megabytes in every step; fetching those pages from the system again takes a tenth of the time of DR.
    """
    for kind in (np.float32, np.float64):
        np.finfo(kind)  # NumPy caches these limits, and warns if it first reads them with subnormals flushed
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):  # only glibc has it
        library.mallopt(MMAP_THRESHOLD, 32 << 20)
        library.mallopt(TRIM_THRESHOLD, 1 << 30)
