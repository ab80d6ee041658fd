"""Freezes modules that keep statistics of their inputs in buffers, such as running means."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Makes modules with statistics use them and leave them unchanged while the block runs."""
    with_statistics = [
        module
        for module in model.modules()
        if module.training and any(buffer.is_floating_point() for buffer in module.buffers(recurse=False))
    ]
    for module in with_statistics:
        module.training = False
    try:
        yield
    finally:
        for module in with_statistics:
            module.training = True
