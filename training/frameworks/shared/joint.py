"""Joint: one model on the mixed rows of all domains."""

from training.data.domain_batches import shuffled_batches
from training.data.patch import Patch
from training.frameworks.round import RoundContext
from training.parameters.shared import SharedParameters


def joint(theta: SharedParameters, patch: Patch, run: RoundContext) -> None:
    """Minimises the mean loss over shuffled rows of all domains.

    Ranks take one batch each and step together by their mean gradient (synchronous data parallelism).
    """
    run.descend(theta, patch, shuffled_batches(patch.rows, run.training.batch_size, run.rng))
