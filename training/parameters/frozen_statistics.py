"""Modules that keep statistics of their inputs, such as running means, in buffers."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Inside the block such modules normalise by the statistics they have, and leave them as they are."""
    keeping = [
        module
        for module in model.modules()
        if module.training and any(buffer.is_floating_point() for buffer in module.buffers(recurse=False))
    ]
    for module in keeping:
        module.training = False
    try:
        yield
    finally:
        for module in keeping:
            module.training = True
