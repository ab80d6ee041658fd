"""Runs rounds of each framework on some ranks, with whole and with sharded tables (see test_ranks.py)."""

import sys

import numpy as np
import torch

from tests.support.reference import LEARNED, SIZES, named, random_rows, small_model
from training.config import FrameworkConfig, TrainingConfig
from training.data.patch import Patch
from training.distributed.ranks import Ranks
from training.frameworks.common.inner_step import InnerOptimizer
from training.frameworks.common.registry import find_shared
from training.frameworks.common.round import RoundContext
from training.parameters.shared import SharedParameters
from training.parameters.table_shards import Shard

FRAMEWORK, TRAINING = FrameworkConfig(outer_lr=0.3), TrainingConfig(batch_size=8)
LR, CPU = 0.01, torch.device("cpu")


def rows_of(rank):
    """Returns the rows of a rank. The second rank has fewer rows, other domains and partly other users."""
    columns = random_rows((40, 21, 30)[rank], seed=rank, domains=((0, 1), (2, 3), (1, 2))[rank])
    return {**columns, "user_id": columns["user_id"] % 4 + 2 * (rank % 2)}


def learned(framework, ranks, sharded=()):
    """Returns the parameters after two rounds, by name."""
    model, *_ = two_rounds(framework, rows_of(ranks.rank), ranks, sharded)
    return named(model)


def two_rounds(framework, columns, ranks, sharded=(), name="mlp", device=CPU):
    """Trains a model for two rounds, from the same initial values whether or not vocabularies are sharded.

    Returns:
        The module, its parameters, and the moments of its optimiser.
    """
    model = small_model(name, framework=framework).to(device)
    start = named(model)
    shards = {name: Shard(name, SIZES[name], 0, ranks, torch.float64) for name in sharded}
    theta = SharedParameters.of(model, shards)
    for vocabulary, shard in shards.items():
        for name in theta.sharded_tables(vocabulary):
            shard.load({"ids": torch.arange(SIZES[vocabulary]), name: start[name].cpu()})
    patch = Patch(columns, theta.features_of, device, torch.float64)
    inner = InnerOptimizer(model, LR)
    for round_number in range(2):
        rng = np.random.default_rng([ranks.rank, round_number])
        find_shared(framework)(theta, patch, RoundContext(inner, FRAMEWORK, TRAINING, ranks, rng))
    for vocabulary, shard in shards.items():
        rows = shard.pull(torch.arange(shard.size), theta.sharded_tables(vocabulary))
        model.load_state_dict(rows, strict=False)
    return model, theta, inner.moments


def check_collectives(ranks, folder):
    """Checks the collectives of `Ranks`, and saves what `sum_rows` returns on two ranks."""
    assert ranks.on_root("root", lambda: [ranks.rank]) == [0]
    assert ranks.max("max", ranks.rank) == ranks.size - 1
    assert ranks.gather("none on one", np.zeros((ranks.rank * 2, 3))).shape[1] == 3
    everybody = np.arange(ranks.size)
    gathered = ranks.gather("gather", np.full(ranks.rank + 1, ranks.rank))
    assert gathered.tolist() == np.repeat(everybody, everybody + 1).tolist()
    if ranks.size == 2:
        ids = torch.tensor([[1, 3], [3]][ranks.rank])
        rows = {"table": torch.tensor([[[1.0], [2.0]], [[5.0]]][ranks.rank])}
        torch.save(ranks.sum_rows("sum", ids, rows), f"{folder}/sum-{ranks.rank}.pt")


def traffic(ranks):
    """Counts the bytes that a rank sends.

    Returns:
        The bytes to pull and push eight rows of a small table, the same for a large table, and for a mean.
    """
    sent = []
    for size in (1_000, 1_000_000):
        shard = Shard("user_id", size, 0, ranks)
        shard.add("user_id.weight", 64, scale=0.05)
        before = ranks.bytes_sent
        ids = torch.arange(8) + 8 * ranks.rank
        shard.pull(ids, ["user_id.weight"])
        shard.push(ids, {"user_id.weight": torch.ones(8, 64)}, rate=1.0)
        sent.append(ranks.bytes_sent - before)
    before = ranks.bytes_sent
    ranks.mean("mean", {"values": torch.ones(30)})
    return [*sent, ranks.bytes_sent - before]


def main(folder):
    """Runs everything on this rank, and saves the results in `folder`."""
    torch.set_num_threads(1)
    ranks = Ranks()
    for name in LEARNED:
        torch.save(learned(name, ranks), f"{folder}/{name}-{ranks.rank}.pt")
        torch.save(learned(name, ranks, ("user_id", "item_id")), f"{folder}/sharded-{name}-{ranks.rank}.pt")
    check_collectives(ranks, folder)
    torch.save(traffic(ranks), f"{folder}/traffic-{ranks.rank}.pt")


if __name__ == "__main__":
    main(sys.argv[1])
