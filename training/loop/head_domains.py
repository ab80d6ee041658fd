"""Learns theta^i of the head domains on the workers, each domain on one rank."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.artifacts import domain_parameters
from training.artifacts.domain_parameters import DomainRow
from training.artifacts.model_names import model_path
from training.config.framework_settings import adaptation_settings
from training.data.bucket_plan import balance
from training.data.columns import Columns, select
from training.data.petastorm_reader import read_buckets
from training.frameworks.specific.adapter import Keep, helpers_path
from training.frameworks.specific.round_choice import choose_rounds, size_groups
from training.loop.gather_adapter import gather_adapter
from training.progress import with_progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from training.data.snapshot import Snapshot
    from training.frameworks.specific.adapter import AdaptedDomain, Adapter
    from training.loop.training_run import TrainingRun, Workers


def adapt_head_domains(run: TrainingRun, version: str) -> None:
    """Stores what dr_longtail.py needs besides theta^S, and theta^i of the head domains that have no row yet.

    Each rank commits the rows of its domains, so a restarted run adds only the rows of ranks that had not committed.

    Args:
        version: the `model_version` of the rows.
    """
    config, ranks, domains = run.config, run.ranks, run.snapshot.domains
    path, folder = config.table("domain_parameters"), model_path(config, version)
    written = ranks.on_root("heads written", lambda: domain_parameters.written_domains(path, version))
    heads_written = written.issuperset(domains.domain_id[domains.head].tolist())
    if heads_written and ranks.on_root("helpers saved", helpers_path(folder).exists):
        return
    adapter = gather_adapter(run.model, run.theta, run)
    if ranks.is_root:
        adapter.save(folder)
    if heads_written:
        return
    adapted_domains = list(_adapt_on_this_rank(adapter, run))
    rounds = _choose_rounds(adapted_domains, len(adapter.settings.rounds), run)
    buckets = dict(zip(domains.domain_id.tolist(), domains.first_bucket.tolist(), strict=True))
    rows = [
        DomainRow.of(adapted, rounds[adapted.domain_id], version, buckets[adapted.domain_id])
        for adapted in adapted_domains
        if adapted.domain_id not in written
    ]
    dtype = adapter.settings.specific_dtype
    domain_parameters.append(path, [domain_parameters.to_row(row, run.theta, dtype) for row in rows])


def _adapt_on_this_rank(adapter: Adapter, workers: Workers) -> Iterator[AdaptedDomain]:
    """Adapts this rank's share of the head domains and keeps theta^i after every round."""
    domains, ranks = workers.snapshot.domains, workers.ranks
    heads = np.flatnonzero(domains.head).tolist()
    weights = {int(domains.domain_id[index]): int(domains.rows_train[index]) for index in heads}
    index_of = {int(domains.domain_id[index]): index for index in heads}
    share = balance(weights, ranks.size, np.random.default_rng(workers.config.seed))[ranks.rank]
    for domain in with_progress(share, "theta^i, head domains", unit="domains", silent=not ranks.is_root):
        index = index_of[domain]
        buckets = list(range(domains.first_bucket[index], domains.first_bucket[index] + domains.buckets[index]))
        train, val = (_rows_of(domain, workers.snapshot, split, buckets) for split in ("train", "val"))
        rounds = len(adapter.settings.rounds)
        yield from adapter.adapt(train, val, {domain: rounds}, Keep.ALL)


def _choose_rounds(adapted_domains: list[AdaptedDomain], rounds: int, workers: Workers) -> dict[int, int]:
    """Chooses, across all ranks, how many of the `rounds` each head domain keeps."""
    settings, domains = adaptation_settings(workers.config), workers.snapshot.domains
    aucs = [[adapted.domain_id, adapted.rows_train, *adapted.val_auc] for adapted in adapted_domains]
    gathered = workers.ranks.gather("heads", np.array(aucs, np.float64).reshape(-1, rounds + 3))
    groups = size_groups(gathered[:, 1], settings.stop_group)
    rounds_of_group = choose_rounds(groups, gathered[:, 2:])
    trainable = set(domains.trainable(settings.specific_min_rows).domain_id.tolist())
    return {
        int(domain): rounds_of_group[group] if domain in trainable else 0
        for domain, group in zip(gathered[:, 0], groups.tolist(), strict=True)
    }


def _rows_of(domain: int, snapshot: Snapshot, split: str, buckets: list[int]) -> Columns:
    """Reads the rows of one domain from the buckets that hold it."""
    columns = read_buckets(snapshot, split, buckets)
    return select(columns, columns["domain_id"] == domain)
