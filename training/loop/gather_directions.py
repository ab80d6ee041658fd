"""The directions of `subspace`, learned on all ranks from the largest domains."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from training.config import Config
from training.data.snapshot import Snapshot
from training.distributed.ranks import Ranks
from training.frameworks.specific.adapter import Adapter, Keep
from training.frameworks.specific.subspace_directions import find_directions
from training.loop.gather_rows import gather_rows

DOMAINS_AT_A_TIME = 8


def gather_directions(adapter: Adapter, config: Config, snapshot: Snapshot, ranks: Ranks) -> Tensor:
    """Finetunes the largest domains, each rank some of them, and finds the directions; the same on every rank."""
    framework, domains = config.framework, snapshot.domains
    largest = np.lexsort([domains.domain_id, -domains.rows_train])[: framework.subspace_domains]
    largest = domains.domain_id[largest[domains.rows_train[largest] > 0]]
    train = gather_rows(largest, framework.subspace_rows, config.seed, snapshot, ranks).columns
    val = {name: column[:0] for name, column in train.items()}
    rounds = ("finetune",) * framework.finetune_rounds
    finetuner = Adapter(adapter.model, adapter.theta, adapter.helpers, replace(adapter.settings, rounds=rounds))
    # The parts are the same for any number of ranks: domains that are adapted side by side share their dropout.
    parts = [largest[begin : begin + DOMAINS_AT_A_TIME] for begin in range(0, len(largest), DOMAINS_AT_A_TIME)]
    ids, rows, offsets = [], [], []
    for part in parts[ranks.rank :: ranks.size]:
        for one in finetuner.adapt(train, val, dict.fromkeys(part.tolist(), len(rounds)), Keep.LAST):
            ids.append(one.domain_id)
            rows.append(one.rows_train)
            offsets.append(one.offsets[len(rounds)].dense.cpu().numpy())
    values = sum(value.numel() for value in adapter.theta.dense.values())
    own = np.array(offsets, np.float32).reshape(-1, values)
    every = ranks.gather("offsets", own), ranks.gather("rows", np.array(rows, np.int64))
    order = np.argsort(ranks.gather("ids", np.array(ids, np.int64)))
    every_offsets, every_rows = (torch.from_numpy(array[order]) for array in every)
    return find_directions(every_offsets, every_rows, framework.subspace_rank).to(adapter.theta.like)
