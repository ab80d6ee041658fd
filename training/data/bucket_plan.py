"""Which rank reads which buckets in which round."""

import heapq
from collections.abc import Mapping

import numpy as np


def balance(weights: Mapping[int, int], shares: int, rng: np.random.Generator) -> list[list[int]]:
    """Deals weighted keys to `shares` by longest processing time first, in an order that `rng` varies.

    Keys whose weights differ by less than a fifth are dealt in random order, and so are the shares at the end: an
    epoch after the other gets another mix, and no share much more than another.

    Example: {0: 7, 1: 4, 2: 3} over two shares gives [0] and [1, 2], in either order.
    """
    size_class = {key: int(np.log(max(weight, 1)) / np.log(1.2)) for key, weight in weights.items()}
    order = sorted(rng.permutation(sorted(weights)).tolist(), key=lambda key: -size_class[key])
    heap = [(0, place) for place in range(shares)]
    dealt: list[list[int]] = [[] for _ in range(shares)]
    for key in order:
        load, place = heapq.heappop(heap)
        dealt[place].append(key)
        heapq.heappush(heap, (load + weights[key], place))
    return [dealt[place] for place in rng.permutation(shares)]


def plan_epoch(
    rows_by_bucket: Mapping[int, int], ranks: int, rounds: int, seed: int, epoch: int
) -> list[list[list[int]]]:
    """The buckets of each round of each rank in an epoch: plan[rank][round]. Every rank has as many rounds."""
    rng = np.random.default_rng([seed, epoch])
    by_rank = balance(rows_by_bucket, ranks, rng)
    return [balance({bucket: rows_by_bucket[bucket] for bucket in own}, rounds, rng) for own in by_rank]
