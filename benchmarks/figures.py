"""Prints the last line of a benchmark: its figures, and the machine that made them."""

import json
import os
import platform
from pathlib import Path

import psutil
import torch


def print_figures(**figures: object) -> None:
    """Prints one JSON object: the figures, and the machine under `machine`."""
    print(json.dumps({**figures, "machine": describe_machine()}))


def describe_machine() -> dict[str, object]:
    """Returns the processor, cores, GiB of memory and GPU (None without one) of this machine."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    """Returns the processor's name, or its architecture where Linux does not report a name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
