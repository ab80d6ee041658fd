"""Caches rows of sharded tables on a rank, for frameworks that step on theta^S itself."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from training.parameters.adam import Moments

if TYPE_CHECKING:
    from training.parameters.shared import SharedParameters

FIRST, SECOND = "first.", "second."  # Adam's moments of a sharded table are further tables of its shard


@contextmanager
def sharded_cache(
    theta: "SharedParameters", ids: Mapping[str, Tensor], moments: Moments
) -> Iterator["SharedParameters"]:
    """Replaces sharded tables by local copies of their rows `ids`, and writes them back when the block ends.

    Adam's moments of these rows are stored with their owners too, and are in `moments` inside the block. Owners take
    the mean change over the ranks that cached a row. Every rank must enter and leave the block together. Without
    sharded tables the block works on `theta` itself.

    Args:
        theta: the parameters.
        ids: the sorted ids to cache, by vocabulary.
        moments: Adam's moments of all parameters.

    Yields:
        Parameters that share all other tensors with `theta`. Ids of sharded vocabularies are positions in `ids`.
    """
    if not theta.shards:
        yield theta
        return
    names = [name for vocabulary in theta.shards for name in theta.sharded_tables(vocabulary)]
    for name in names:
        shard = theta.shards[theta.vocabulary_of[name]]
        for prefix in (FIRST, SECOND):
            shard.add(prefix + name, shard.dims[name], scale=0)
    pulled = theta.pull_sharded(ids, ("", FIRST, SECOND))
    moments.first |= {name: pulled[FIRST + name].clone() for name in names}
    moments.second |= {name: pulled[SECOND + name].clone() for name in names}
    cached = {name: pulled[name].clone() for name in names}
    cached_ids = {vocabulary: ids[vocabulary] for vocabulary in theta.shards}
    yield replace(theta, tables=theta.tables | cached, ids=cached_ids, shards={}, pulled=pulled)
    for name in names:
        cached[FIRST + name], cached[SECOND + name] = moments.first.pop(name), moments.second.pop(name)
    push_sharded(theta, cached_ids, pulled, cached, rate=1.0)


def push_sharded(
    theta: "SharedParameters",
    ids: Mapping[str, Tensor],
    pulled: Mapping[str, Tensor],
    values: Mapping[str, Tensor],
    rate: float,
) -> None:
    """Adds `rate` times the mean over ranks of (values - pulled) to the rows `ids` of sharded tables.

    The mean of a row is over the ranks that pulled it. Every rank must call it.
    """
    for vocabulary, shard in theta.shards.items():
        displacements = {name: values[name] - pulled[name] for name in shard.dims if name in pulled}
        shard.push(ids[vocabulary], displacements, rate)
