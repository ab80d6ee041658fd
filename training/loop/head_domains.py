"""theta^i on the workers: the head domains, each on one rank."""

import sys
from collections.abc import Iterator

import numpy as np
from torch import nn
from tqdm import tqdm

from training.artifacts import domain_parameters
from training.artifacts.model_names import model_path
from training.config import Config, FrameworkConfig
from training.data.bucket_plan import balance
from training.data.columns import Columns, select
from training.data.petastorm_reader import read_buckets
from training.data.snapshot import Domains, Snapshot
from training.distributed.ranks import Ranks
from training.frameworks.specific.adapter import AdaptedDomain, Adapter, Keep, adaptation_settings, helpers_path
from training.frameworks.specific.round_choice import choose_rounds, size_groups
from training.loop.gather_directions import gather_directions
from training.loop.gather_rows import gather_helpers
from training.parameters.shared import SharedParameters


def adapt_head_domains(
    model: nn.Module, theta: SharedParameters, config: Config, snapshot: Snapshot, ranks: Ranks, version: str
) -> None:
    """Writes what dr_longtail needs beside theta^S, and theta^i of the head domains that have none yet.

    Each rank commits its own domains: a run that is started again adds those of a rank that did not come to it.
    """
    path, folder = config.table("domain_parameters"), model_path(config, version)
    written = ranks.on_root("heads written", lambda: domain_parameters.written_domains(path, version))
    heads_written = written.issuperset(snapshot.domains.domain_id[snapshot.domains.head].tolist())
    if heads_written and ranks.on_root("helpers saved", helpers_path(folder).exists):
        return
    adapter = gather_adapter(model, theta, config, snapshot, ranks)
    if ranks.is_root:
        adapter.save(folder)
    if heads_written:
        return
    adapted = list(_adapt_own(adapter, config, snapshot, ranks))
    kept = _choose(adapted, len(adapter.settings.rounds), config.framework, snapshot.domains, ranks)
    buckets = dict(zip(snapshot.domains.domain_id.tolist(), snapshot.domains.first_bucket.tolist(), strict=True))
    rows = [
        domain_parameters.to_row(
            one, kept[one.domain_id], version, buckets[one.domain_id], theta, config.framework.specific_dtype
        )
        for one in adapted
        if one.domain_id not in written
    ]
    domain_parameters.append(path, rows)


def gather_adapter(
    model: nn.Module, theta: SharedParameters, config: Config, snapshot: Snapshot, ranks: Ranks
) -> Adapter:
    """The adapter of a model, the same on every rank, with all that its rounds need."""
    helpers = gather_helpers(config, snapshot, ranks)
    adapter = Adapter(model, theta, helpers, adaptation_settings(config))
    if config.framework.specific == "subspace":
        adapter.directions = gather_directions(adapter, config, snapshot, ranks)
    return adapter


def _adapt_own(adapter: Adapter, config: Config, snapshot: Snapshot, ranks: Ranks) -> Iterator[AdaptedDomain]:
    """The adapted head domains of this rank, one after the other."""
    domains = snapshot.domains
    place = {int(domain): index for index, domain in enumerate(domains.domain_id) if domains.head[index]}
    weights = {domain: int(domains.rows_train[index]) for domain, index in place.items()}
    own = balance(weights, ranks.size, np.random.default_rng(config.seed))[ranks.rank]
    for domain in tqdm(own, desc="theta^i, head domains", file=sys.stderr, disable=not ranks.is_root):
        index = place[domain]
        buckets = list(range(domains.first_bucket[index], domains.first_bucket[index] + domains.buckets[index]))
        train, val = (_rows_of(domain, snapshot, split, buckets) for split in ("train", "val"))
        rounds = len(adapter.settings.rounds)
        yield from adapter.adapt(train, val, {domain: rounds}, Keep.ALL)


def _choose(
    adapted: list[AdaptedDomain], rounds: int, framework: FrameworkConfig, domains: Domains, ranks: Ranks
) -> dict[int, int]:
    """Of so many rounds those that each head domain keeps, chosen over the domains of all ranks."""
    own = np.array([[one.domain_id, one.rows_train, *one.val_auc] for one in adapted], np.float64)
    every = ranks.gather("heads", own.reshape(-1, rounds + 3))
    groups = size_groups(every[:, 1], framework.stop_group)
    kept = choose_rounds(groups, every[:, 2:])
    able = set(domains.trainable(framework.specific_min_rows).domain_id.tolist())
    return {int(d): kept[group] if d in able else 0 for d, group in zip(every[:, 0], groups.tolist(), strict=True)}


def _rows_of(domain: int, snapshot: Snapshot, split: str, buckets: list[int]) -> Columns:
    columns = read_buckets(snapshot, split, buckets)
    return select(columns, columns["domain_id"] == domain)
