"""Alternate: one model, one domain after the other."""

import numpy as np

from training.batches import Patch, domain_walk
from training.frameworks.settings import RoundSettings
from training.inner import InnerOptimizer
from training.parameters import Parameters
from training.ranks import Ranks


def alternate(
    theta: Parameters,
    patch: Patch,
    inner: InnerOptimizer,
    settings: RoundSettings,
    ranks: Ranks,
    rng: np.random.Generator,
) -> None:
    """Walks the domains in random order, a step a batch: DN with an outer rate of 1 that keeps its moments.

    Ranks walk domains of their own side by side and step together by their mean gradient.
    """
    units = domain_walk(patch, settings.batch_size, settings.pack, rng)
    inner.step_together(theta, [patch.batch(rows) for unit in units for rows in unit], ranks)
