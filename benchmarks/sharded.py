"""Measures what caching sharded tables for a round saves, and what a step on a batch's rows saves over whole tables.

    horovodrun -np 2 python benchmarks/sharded.py

Each rank has one thread and its rows in memory; users and items follow 1/rank. Rank 0 prints a table and,
as the last line, one JSON object.
"""

import time

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.figures import print_figures
from training.config import ModelConfig
from training.data.columns import Columns
from training.data.patch import Batch, Patch
from training.data.schema import Schema
from training.distributed.device import use_cpu
from training.distributed.ranks import Ranks
from training.frameworks.common.inner_step import InnerOptimizer
from training.models import build_model
from training.parameters.shard_files import add_tables
from training.parameters.sharded_cache import push_sharded
from training.parameters.shared import SharedParameters
from training.parameters.table_shards import Shard

USERS, ITEMS, DOMAINS, ROWS, BATCH = 100_000, 30_000, 500, 409_600, 1024
STEPS = 20
SCHEMA = Schema.of({"user_id": USERS, "item_id": ITEMS, "domain_id": DOMAINS})


def main() -> None:
    """Measures both and prints the table on rank 0."""
    use_cpu(threads=1)
    ranks = Ranks()
    columns = draw_rows(ranks.rank)
    cached, stepwise = (moved_in_an_epoch(columns, ranks, rows) for rows in (ROWS, BATCH))
    sparse, dense = rows_per_second(columns)
    if ranks.is_root:
        print(f"{'':<28}{'MB sent by a rank':>20}{'seconds':>10}")
        for name, (sent, seconds) in {"cache of a round": cached, "pull and push each step": stepwise}.items():
            print(f"{name:<28}{sent / 1e6:>20.1f}{seconds:>10.1f}")
        print(f"Adam on the rows of a batch: {sparse / dense:.1f} x the rows/s of Adam on whole tables of width 128")
        figures = {
            "ranks": ranks.size,
            "bytes_ratio": cached[0] / max(stepwise[0], 1),
            "seconds_ratio": cached[1] / stepwise[1],
            "rows_against_whole_tables": sparse / dense,
        }
        print_figures(**figures)


def draw_rows(seed: int) -> Columns:
    """Draws ROWS random rows, sorted by domain; an id's frequency is proportional to 1/id."""
    rng = np.random.default_rng(seed)

    def draw(count: int) -> np.ndarray:
        return np.minimum(count ** rng.random(ROWS), count - 1).astype(np.int64)

    return {
        "domain_id": np.sort(rng.integers(DOMAINS, size=ROWS)),
        "user_id": draw(USERS),
        "item_id": draw(ITEMS),
        "label": rng.integers(2, size=ROWS).astype(np.float32),
    }


def moved_in_an_epoch(columns: Columns, ranks: Ranks, rows_at_once: int) -> tuple[int, float]:
    """Passes over the rank's rows, pulling `rows_at_once` rows at a time; returns the bytes sent and the seconds."""
    shards = {name: Shard(name, SCHEMA.sizes[name], 0, ranks) for name in ("user_id", "item_id")}
    model = build_model(ModelConfig(), SCHEMA.with_one_id(shards), 0)
    add_tables(shards, model, 0.05)
    theta, inner = SharedParameters.of(model, shards), InnerOptimizer(model, 1e-3)
    start, sent = time.monotonic(), 0
    for begin in range(0, ROWS, rows_at_once):
        chunk = {name: column[begin : begin + rows_at_once] for name, column in columns.items()}
        patch = Patch(chunk, theta.features_of, torch.device("cpu"), torch.float32)
        before = ranks.bytes_sent
        walker = theta.pull(patch.ids)
        inner.reset()
        for first in range(0, patch.rows, BATCH):
            inner.step(walker, patch.batch(np.arange(first, min(first + BATCH, patch.rows)), local=True))
        push_sharded(theta, walker.ids, walker.pulled, walker.local_tables, 1.0)
        sent += ranks.bytes_sent - before
    return sent, time.monotonic() - start


def rows_per_second(columns: Columns) -> tuple[float, float]:
    """Returns the rows/s of our inner step, and of torch.optim.Adam on all parameters, with vectors of width 128."""
    model = build_model(ModelConfig(embedding_dim=128), SCHEMA, 0)
    theta, inner = SharedParameters.of(model), InnerOptimizer(model, 1e-3)
    patch = Patch(columns, theta.features_of, torch.device("cpu"), torch.float32)
    batches = [patch.batch(np.random.default_rng(step).integers(ROWS, size=BATCH)) for step in range(STEPS)]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    rates = []
    for step in (lambda batch: inner.step(theta, batch), lambda batch: dense_step(model, optimizer, batch)):
        step(batches[0])
        start = time.monotonic()
        for batch in batches:
            step(batch)
        rates.append(STEPS * BATCH / (time.monotonic() - start))
    return rates[0], rates[1]


def dense_step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    """Takes one step of torch.optim.Adam on all parameters."""
    optimizer.zero_grad()
    binary_cross_entropy_with_logits(model(batch.features), batch.labels).backward()
    optimizer.step()


if __name__ == "__main__":
    main()
