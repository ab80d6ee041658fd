"""Takes the outer step of DN and Reptile: line 7 of Algorithm 1, over all ranks."""

from training.distributed.ranks import Ranks
from training.parameters.sharded_cache import push_sharded
from training.parameters.shared import SharedParameters


def outer_step(theta: SharedParameters, walker: SharedParameters, rate: float, ranks: Ranks) -> None:
    """Moves theta by the walkers' mean displacement: theta += rate * mean over ranks of (walker - theta).

    The mean of an embedding row is over the ranks whose walker has it. Every rank must call it.

    Args:
        theta: the same on all ranks, before and after; changed in place.
        walker: a copy by `theta.pull` that this rank has trained.
        rate: beta of Algorithm 1.
        ranks: all ranks.
    """
    ranks.wait()
    values, walked = theta.trained(), walker.trained()
    dense = [name for name in values if name not in theta.vocabulary_of]
    displacements = ranks.mean("push.dense", {name: walked[name] - values[name] for name in dense})
    for name, displacement in displacements.items():
        values[name].add_(displacement, alpha=rate)
    for vocabulary, ids in walker.ids.items():
        tables = [name for name in values if theta.vocabulary_of.get(name) == vocabulary]
        if tables:
            moved = {name: walked[name] - values[name][ids] for name in tables}
            all_ids, sums, counts = ranks.sum_rows(f"push.{vocabulary}", ids, moved)
            for name, total in sums.items():
                values[name].index_add_(0, all_ids, total / counts.unsqueeze(1), alpha=rate)
    push_sharded(theta, walker.ids, walker.pulled, walked, rate)
