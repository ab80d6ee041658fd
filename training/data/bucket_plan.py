"""Plans which rank reads which buckets in which round."""

import heapq
from collections.abc import Mapping

import numpy as np


def balance(weights: Mapping[int, int], shares: int, rng: np.random.Generator) -> list[list[int]]:
    """Divides keys among `shares` so that their total weights are similar, by longest processing time first.

    Keys whose weights differ by less than a fifth are dealt in random order, and the shares are shuffled at the end. So
    every epoch gets another mix, and the totals stay similar.

    >>> shares = balance({0: 7, 1: 4, 2: 3}, 2, np.random.default_rng(0))
    >>> sorted(sorted(keys) for keys in shares)
    [[0], [1, 2]]
    """
    size_class = {key: int(np.log(max(weight, 1)) / np.log(1.2)) for key, weight in weights.items()}
    order = sorted(rng.permutation(sorted(weights)).tolist(), key=lambda key: -size_class[key])
    heap = [(0, index) for index in range(shares)]
    dealt: list[list[int]] = [[] for _ in range(shares)]
    for key in order:
        load, index = heapq.heappop(heap)
        dealt[index].append(key)
        heapq.heappush(heap, (load + weights[key], index))
    return [dealt[index] for index in rng.permutation(shares)]


def plan_epoch(
    rows_by_bucket: Mapping[int, int], ranks: int, rounds: int, seed: int, epoch: int
) -> list[list[list[int]]]:
    """Returns the buckets that each rank reads in each round of an epoch, as plan[rank][round].

    Every rank has the same number of rounds. A round may have no buckets.
    """
    rng = np.random.default_rng([seed, epoch])
    by_rank = balance(rows_by_bucket, ranks, rng)
    return [balance({bucket: rows_by_bucket[bucket] for bucket in buckets}, rounds, rng) for buckets in by_rank]
