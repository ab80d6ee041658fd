"""Builds the same adapter on every rank: its helper rows and, for `subspace`, its directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from training.config.framework_settings import adaptation_settings
from training.data.bucket_plan import plan_epoch
from training.data.columns import select
from training.data.petastorm_reader import read_buckets
from training.frameworks.specific.adapter import Adapter, Keep
from training.frameworks.specific.helper_rows import HelperRows, choose_helper_domains
from training.frameworks.specific.subspace_directions import find_directions

if TYPE_CHECKING:
    from torch import Tensor, nn

    from training.loop.training_run import Workers
    from training.parameters.shared import SharedParameters

DOMAINS_AT_A_TIME = 8  # adapted side by side to find directions


def gather_adapter(model: nn.Module, theta: SharedParameters, workers: Workers) -> Adapter:
    """Returns an adapter with everything its rounds need, the same on every rank."""
    adapter = Adapter(model, theta, gather_helpers(workers), adaptation_settings(workers.config))
    if workers.config.framework.specific == "subspace":
        adapter.directions = _gather_directions(adapter, workers)
    return adapter


def gather_helpers(workers: Workers) -> HelperRows:
    """Returns the reservoir of helper rows, the same on every rank."""
    settings, domains = adaptation_settings(workers.config), workers.snapshot.domains
    with_rows = domains.domain_id[domains.rows_train > 0]
    chosen = choose_helper_domains(with_rows, settings.helper_domains, settings.seed)
    return _gather_rows(chosen, settings.helper_rows, workers)


def _gather_rows(domains: np.ndarray, most_rows: int, workers: Workers) -> HelperRows:
    """Returns at most `most_rows` training rows of each of `domains`, chosen by a hash; the same on every rank."""
    snapshot, ranks, seed = workers.snapshot, workers.ranks, workers.config.seed
    chunks = []
    for bucket in plan_epoch(snapshot.rows_by_bucket("train"), ranks.size, 1, seed, 0)[ranks.rank][0]:
        columns = read_buckets(snapshot, "train", [bucket])
        columns = select(columns, np.isin(columns["domain_id"], domains))
        chunks.append(HelperRows.of(columns, most_rows, seed).columns)
    read_here = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in snapshot.schema.columns}
    gathered = {name: ranks.gather(f"rows.{name}", column) for name, column in read_here.items()}
    return HelperRows.of(gathered, most_rows, seed)


def _gather_directions(adapter: Adapter, workers: Workers) -> Tensor:
    """Finetunes the largest domains, each on one rank, and returns the principal axes of their offsets."""
    settings, domains, ranks = adapter.settings, workers.snapshot.domains, workers.ranks
    largest = np.lexsort([domains.domain_id, -domains.rows_train])[: settings.subspace_domains]
    largest = domains.domain_id[largest[domains.rows_train[largest] > 0]]
    train = _gather_rows(largest, settings.subspace_rows, workers).columns
    val = {name: column[:0] for name, column in train.items()}
    rounds = ("finetune",) * settings.finetune_rounds
    finetuner = Adapter(adapter.model, adapter.theta, adapter.helpers, settings.replaced(rounds=rounds))
    # Domains that are adapted side by side share their dropout, so the chunks must not depend on the number of ranks.
    chunks = [largest[begin : begin + DOMAINS_AT_A_TIME] for begin in range(0, len(largest), DOMAINS_AT_A_TIME)]
    ids, rows, offsets = [], [], []
    for chunk in chunks[ranks.rank :: ranks.size]:
        for adapted in finetuner.adapt(train, val, dict.fromkeys(chunk.tolist(), len(rounds)), Keep.LAST):
            ids.append(adapted.domain_id)
            rows.append(adapted.rows_train)
            offsets.append(adapted.offsets[len(rounds)].dense.cpu().numpy())
    width = sum(value.numel() for value in adapter.theta.dense.values())
    all_offsets = ranks.gather("offsets", np.array(offsets, np.float32).reshape(-1, width))
    all_rows = ranks.gather("rows", np.array(rows, np.int64))
    order = np.argsort(ranks.gather("ids", np.array(ids, np.int64)))
    directions = find_directions(
        torch.from_numpy(all_offsets[order]), torch.from_numpy(all_rows[order]), settings.subspace_rank
    )
    return directions.to(adapter.theta.like)
