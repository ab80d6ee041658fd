"""Joint: one model on the mixed rows of all domains."""

import numpy as np

from training.batches import Patch, shuffled_batches
from training.frameworks.settings import RoundSettings
from training.inner import InnerOptimizer
from training.parameters import Parameters
from training.ranks import Ranks


def joint(
    theta: Parameters,
    patch: Patch,
    inner: InnerOptimizer,
    settings: RoundSettings,
    ranks: Ranks,
    rng: np.random.Generator,
) -> None:
    """Minimises the mean loss over shuffled rows of all domains.

    Ranks take one batch each and step together by their mean gradient (synchronous data parallelism).
    """
    batches = shuffled_batches(patch.rows, settings.batch_size, rng)
    inner.step_together(theta, [patch.batch(rows) for rows in batches if len(rows)], ranks)
