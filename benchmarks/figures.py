"""The last line of a benchmark: its figures, and the machine that they are of."""

import json
import os
import platform
from pathlib import Path

import psutil
import torch


def print_figures(**figures: object) -> None:
    """Prints one JSON object: the figures, and beside them `machine`."""
    print(json.dumps({**figures, "machine": describe_machine()}))


def describe_machine() -> dict[str, object]:
    """Its processor, cores, GiB of memory, and GPU, if there is one."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    """Its name where Linux tells it, else what kind it is."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
