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


def load_rounds(rows: DataFrame, trainable: Domains, key: ModelKey) -> dict[int, int]:
    """Returns how many rounds each of the domains `trainable` keeps.

    The first job of a model chooses them and writes rounds.json to the model's folder; later jobs read that file. A
    domain that is newer than the file keeps as many rounds as the domain of the nearest size.
    """
    path = model_path(key.config, key.model_version) / "rounds.json"
    if not path.exists():
        chosen = _choose_rounds(rows, trainable, key) if len(trainable) else {}
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(chosen))
        mirror_of(key.config.root, path.parent).publish()
    rounds_of = {int(domain): rounds for domain, rounds in json.loads(path.read_text()).items()}
    chosen_before = np.isin(trainable.domain_id, list(rounds_of))
    if chosen_before.any():
        ids, sizes = trainable.domain_id[chosen_before], trainable.rows_train[chosen_before]
        new = trainable.where(~chosen_before)
        for domain, size in zip(new.domain_id.tolist(), new.rows_train.tolist(), strict=True):
            rounds_of[domain] = rounds_of[int(ids[np.abs(sizes - size).argmin()])]
    return rounds_of


def _choose_rounds(rows: DataFrame, trainable: Domains, key: ModelKey) -> dict[int, int]:
    """Adapts a pilot of each group of domains of similar size, in all rounds, and scores it on validation rows.

    A pilot has `framework.stop_group` domains. Each group keeps the number of rounds that is best for its pilot.
    """
    settings = adaptation_settings(key.config)
    pilot_size, most = settings.stop_group, len(settings.rounds)
    groups = size_groups(trainable.rows_train, pilot_size)
    draws = hash_keys(key.config.seed, trainable.domain_id)
    in_pilot = np.zeros(len(groups), bool)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        in_pilot[members[np.argsort(draws[members])][:pilot_size]] = True
    pilot = trainable.where(in_pilot)
    print(f"adaptation: trying {most} rounds on {len(pilot)} of {len(groups)} trainable tail domains", file=sys.stderr)

    def to_row(adapted: AdaptedDomain, bucket: int, theta: SharedParameters) -> dict:
        return {"domain_id": adapted.domain_id, "val_auc": adapted.val_auc.tolist()}

    rounds, buckets = dict.fromkeys(pilot.domain_id.tolist(), most), np.unique(pilot.first_bucket).tolist()
    scored = map_domains(rows, rounds, buckets, key, Keep.NONE, to_row, PILOT).toArrow().sort_by("domain_id")
    row_index = np.searchsorted(trainable.domain_id, scored["domain_id"].to_numpy())
    kept_rounds = choose_rounds(groups[row_index], np.array(scored["val_auc"].to_pylist()))
    for group in np.unique(groups).tolist():
        largest, rounds_kept = trainable.rows_train[groups == group].max(), kept_rounds.get(group, 0)
        print(f"adaptation: domains of up to {largest} training rows keep {rounds_kept} rounds", file=sys.stderr)
    return {
        domain: kept_rounds.get(group, 0)
        for domain, group in zip(trainable.domain_id.tolist(), groups.tolist(), strict=True)
    }
