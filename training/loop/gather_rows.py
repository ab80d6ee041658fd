"""A few rows of many domains, read by all ranks together and then known to each."""

import numpy as np

from training.config import Config
from training.data.bucket_plan import plan_epoch
from training.data.columns import select
from training.data.petastorm_reader import read_buckets
from training.data.snapshot import Snapshot
from training.distributed.ranks import Ranks
from training.frameworks.specific.helper_rows import HelperRows, choose_helper_domains


def gather_helpers(config: Config, snapshot: Snapshot, ranks: Ranks) -> HelperRows:
    """The reservoir of helper rows, the same on every rank."""
    framework = config.framework
    with_rows = snapshot.domains.domain_id[snapshot.domains.rows_train > 0]
    chosen = choose_helper_domains(with_rows, framework.helper_domains, config.seed)
    return gather_rows(chosen, framework.helper_rows, config.seed, snapshot, ranks)


def gather_rows(domains: np.ndarray, most_rows: int, seed: int, snapshot: Snapshot, ranks: Ranks) -> HelperRows:
    """At most so many training rows of each of `domains`, chosen by a hash; the same on every rank."""
    parts = []
    for bucket in plan_epoch(snapshot.rows_by_bucket("train"), ranks.size, 1, seed, 0)[ranks.rank][0]:
        columns = read_buckets(snapshot, "train", [bucket])
        columns = select(columns, np.isin(columns["domain_id"], domains))
        parts.append(HelperRows.of(columns, most_rows, seed).columns)
    own = {name: np.concatenate([part[name] for part in parts]) for name in snapshot.schema.columns}
    whole = {name: ranks.gather(f"rows.{name}", column) for name, column in own.items()}
    return HelperRows.of(whole, most_rows, seed)
