"""Chooses how many rounds of adaptation each tail domain keeps."""

import json
import sys

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from pipelines.tasks.adapt_domains import map_domains
from pipelines.tasks.model_key import ModelKey
from training.artifacts.model_names import model_path
from training.config.framework_settings import adaptation_settings
from training.data.snapshot import Domains
from training.files.atomic_write import atomic_write
from training.files.mirror import mirror_of
from training.frameworks.specific.adapter import AdaptedDomain, Keep
from training.frameworks.specific.round_choice import choose_rounds, size_groups
from training.hashing import hash_keys
from training.parameters.shared import SharedParameters

PILOT = pa.schema([("domain_id", pa.int32()), ("val_auc", pa.list_(pa.float64()))])


def load_rounds(rows: DataFrame, able: Domains, key: ModelKey) -> dict[int, int]:
    """The rounds that each of the domains keeps; chosen by the first job of a model, then read from its folder.

    A domain that is new since then keeps as many as that of the most like size.
    """
    path = model_path(key.config, key.model_version) / "rounds.json"
    if not path.exists():
        chosen = _choose_rounds(rows, able, key) if len(able) else {}
        with atomic_write(path) as aside:
            aside.write_text(json.dumps(chosen))
        mirror_of(key.config.root, path.parent).publish()
    kept = {int(domain): rounds for domain, rounds in json.loads(path.read_text()).items()}
    known = np.isin(able.domain_id, list(kept))
    if known.any():
        for domain, size in zip(able.domain_id[~known].tolist(), able.rows_train[~known].tolist(), strict=True):
            nearest = np.abs(able.rows_train[known] - size).argmin()
            kept[domain] = kept[int(able.domain_id[known][nearest])]
    return kept


def _choose_rounds(rows: DataFrame, able: Domains, key: ModelKey) -> dict[int, int]:
    """Lets a pilot of each group of like size, `framework.stop_group` domains or so, try all rounds.

    The group keeps the rounds that serve its pilot best on validation rows.
    """
    settings = adaptation_settings(key.config)
    stop_group, most = settings.stop_group, len(settings.rounds)
    groups = size_groups(able.rows_train, stop_group)
    draws = hash_keys(key.config.seed, able.domain_id)
    pilot = np.zeros(len(groups), bool)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        pilot[members[np.argsort(draws[members])][:stop_group]] = True
    tried = dict.fromkeys(able.domain_id[pilot].tolist(), most)
    print(f"theta^i: {len(tried)} of {len(groups)} tail domains that can learn try {most} rounds", file=sys.stderr)

    def to_row(adapted: AdaptedDomain, bucket: int, theta: SharedParameters) -> dict:
        return {"domain_id": adapted.domain_id, "val_auc": adapted.val_auc.tolist()}

    buckets = np.unique(able.first_bucket[pilot]).tolist()
    scored = map_domains(rows, tried, buckets, key, Keep.NONE, to_row, PILOT).toPandas().sort_values("domain_id")
    place = np.searchsorted(able.domain_id, scored["domain_id"].to_numpy())
    kept = choose_rounds(groups[place], np.stack(scored["val_auc"]))
    for group in np.unique(groups):
        largest = able.rows_train[groups == group].max()
        print(f"theta^i: domains of up to {largest} training rows keep {kept.get(group, 0)} rounds", file=sys.stderr)
    return {int(d): kept.get(group, 0) for d, group in zip(able.domain_id, groups.tolist(), strict=True)}
