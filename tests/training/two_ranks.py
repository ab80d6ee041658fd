"""Run under horovodrun by test_two_ranks.py: one round of a framework on each rank's own rows."""

import sys

import numpy as np
import torch

from tests.training.reference import LEARNED, named, random_rows, small_model
from training.batches import Patch
from training.config import FrameworkConfig, TrainingConfig
from training.frameworks.run import Run
from training.inner import InnerOptimizer
from training.parameters import Parameters
from training.ranks import Ranks

FRAMEWORK, TRAINING = FrameworkConfig(outer_lr=0.3), TrainingConfig(batch_size=8)
LR = 0.01


def rows_of(rank):
    """The second rank has fewer rows, other domains and, in part, other users."""
    columns = random_rows((40, 21, 30)[rank], seed=rank, domains=((0, 1), (2, 3), (1, 2))[rank])
    return {**columns, "user_id": columns["user_id"] % 4 + 2 * (rank % 2)}


def main(folder):
    torch.set_num_threads(1)
    ranks = Ranks()
    for name, framework in LEARNED.items():
        model = small_model(framework=name)
        theta = Parameters.of(model)
        patch = Patch(rows_of(ranks.rank), theta.features_of, torch.device("cpu"), torch.float64)
        inner = InnerOptimizer(model, LR)
        for turn in range(2):
            rng = np.random.default_rng([ranks.rank, turn])
            framework.learn(theta, patch, Run(inner, FRAMEWORK, TRAINING, ranks, rng))
        torch.save(named(model), f"{folder}/{name}-{ranks.rank}.pt")
    ids = torch.tensor([[1, 3], [3]][ranks.rank] if ranks.rank < 2 else [])
    rows = {"table": torch.tensor([[[1.0], [2.0]], [[5.0]]][ranks.rank])}
    torch.save(ranks.sum_rows("sum", ids, rows), f"{folder}/sum-{ranks.rank}.pt")
    assert ranks.on_root("root", lambda: [ranks.rank]) == [0]
    assert ranks.max("max", ranks.rank) == ranks.size - 1
    assert ranks.gather("none on one", np.zeros((ranks.rank * 2, 3))).shape == (2, 3)
    assert ranks.gather("gather", np.full(ranks.rank + 1, ranks.rank)).tolist() == [0, 1, 1]


if __name__ == "__main__":
    main(sys.argv[1])
