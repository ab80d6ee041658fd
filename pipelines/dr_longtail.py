"""Learns theta^i of every tail domain against theta^S, by DR or finetuning, many domains a task.

    spark-submit pipelines/dr_longtail.py --config conf/ml_latest_small.yaml [key=value ...]

Settings are those that training/train.py ran with: they name the model. Buckets are adapted in waves, each of which
ends in one commit; a job that is started again goes on after the last one.
"""

import json
import sys
import time

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from tqdm import tqdm

from pipelines.engine import tables
from pipelines.engine.session import run_job
from pipelines.tasks.adapt_domains import ModelKey, find_specific, map_domains
from training.artifacts import domain_parameters
from training.artifacts.domain_parameters import DomainRow
from training.artifacts.model_names import model_path
from training.artifacts.model_store import read_manifest
from training.config import Config
from training.data.snapshot import Domains, take_snapshot
from training.errors import UserError
from training.files.atomic_write import atomic_write
from training.files.mirror import mirror_of
from training.frameworks.specific.adapter import AdaptedDomain, Keep, adaptation_settings, helpers_path
from training.frameworks.specific.round_choice import choose_rounds, size_groups
from training.hashing import hash_keys
from training.parameters.shared import SharedParameters

WAVE = 8  # buckets a core
PILOT = pa.schema([("domain_id", pa.int32()), ("val_auc", pa.list_(pa.float64()))])


def dr_longtail(spark: SparkSession, config: Config) -> dict:
    """Runs the whole job and returns its summary. Raises UserError."""
    start = time.monotonic()
    if config.framework.specific == "none":
        raise UserError(f"framework {config.framework.name} adds nothing by domain: set framework.name=mamdr")
    snapshot = take_snapshot(config)
    key = ModelKey.find(config, snapshot.version)
    if not helpers_path(model_path(config, key.specific)).exists():
        name = config.framework.name
        raise UserError(f"model {key.specific} has no helpers: run training/train.py with framework.name={name}")
    path = config.table("domain_parameters")
    tail = snapshot.domains.where(~snapshot.domains.head & (snapshot.domains.rows_train > 0))
    able = tail.trainable(config.framework.specific_min_rows)
    kept = _keep_unchanged(spark, tail, key)
    done = _adapted_domains(spark, path, key.specific)
    left = [domain for domain in tail.domain_id.tolist() if domain not in done]
    if left:
        rows = tables.read(spark, config.table("samples"), snapshot.version)
        rounds = dict.fromkeys(left, 0) | _load_rounds(rows, able, key)
        bucket_of = dict(zip(tail.domain_id.tolist(), tail.first_bucket.tolist(), strict=True))
        waves = _waves({bucket_of[domain] for domain in left}, WAVE * spark.sparkContext.defaultParallelism)
        for buckets in tqdm(waves, desc="theta^i, tail domains", unit="wave", file=sys.stderr):
            chosen = {domain: rounds[domain] for domain in left if bucket_of[domain] in buckets}
            append(adapt(rows, chosen, buckets, key), path)
    seconds = time.monotonic() - start
    return {
        "domains": len(left),
        "domains_skipped": len(tail) - len(left),
        "domains_kept": kept,
        "domains_too_small": len(tail) - len(able),
        "seconds": round(seconds, 3),
        "domains_per_second": round(len(left) / seconds, 2),
        "table_version": tables.version(path),
    }


def adapt(rows: DataFrame, rounds: dict[int, int], buckets: list[int], key: ModelKey) -> DataFrame:
    """theta^i of the domains in `rounds` after so many rounds, as rows of domain_parameters."""

    dtype = key.config.framework.specific_dtype

    def to_row(adapted: AdaptedDomain, bucket: int, theta: SharedParameters) -> dict:
        row = DomainRow.of(adapted, rounds[adapted.domain_id], key.specific, bucket)
        return domain_parameters.to_row(row, theta, dtype)

    return map_domains(rows, rounds, buckets, key, Keep.LAST, to_row, domain_parameters.SCHEMA)


def _keep_unchanged(spark: SparkSession, tail: Domains, key: ModelKey) -> int:
    """Lets tail domains that changed little keep theta^i of the model that training started from; returns their number.

    Little is by less than `framework.refresh_share` of the training rows that theta^i was learned from.
    """
    config, share = key.config, key.config.framework.refresh_share
    origin = read_manifest(model_path(config, key.shared)).get("started_from")
    if share is None or origin is None:
        return 0
    before = find_specific(config, origin)
    table = tables.read(spark, config.table("domain_parameters"))
    sizes = list(zip(tail.domain_id.tolist(), tail.rows_train.tolist(), strict=True))
    now = spark.createDataFrame(sizes, "domain_id INT, now BIGINT")
    old = table.where(F.col("model_version") == before).join(now, "domain_id")
    unchanged = old.where(F.abs(F.col("now") - F.col("rows_train")) < share * F.col("rows_train")).drop("now")
    there = table.where(F.col("model_version") == key.specific).select("domain_id")
    missing = unchanged.join(there, "domain_id", "left_anti")
    if not missing.isEmpty():
        take_over(missing, key)
    return unchanged.count()


def take_over(parameters: DataFrame, key: ModelKey) -> None:
    """Writes theta^i of another model as that of `key`, as it is."""
    append(parameters.withColumn("model_version", F.lit(key.specific)), key.config.table("domain_parameters"))


def append(parameters: DataFrame, path: str) -> None:
    """Adds rows to domain_parameters in small row groups, of which one is read to serve a domain."""
    settings = parameters.sparkSession.conf
    for key, value in domain_parameters.HADOOP_ROW_GROUPS.items():
        settings.set(key, value)
    try:
        parameters.write.format("delta").mode("append").save(path)
    finally:
        for key in domain_parameters.HADOOP_ROW_GROUPS:
            settings.unset(key)


def _load_rounds(rows: DataFrame, able: Domains, key: ModelKey) -> dict[int, int]:
    """The rounds that each of the domains keeps; chosen by the first job of a model, then read from its folder.

    A domain that is new since then keeps as many as that of the most like size.
    """
    path = model_path(key.config, key.specific) / "rounds.json"
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
    stop_group, most = key.config.framework.stop_group, len(adaptation_settings(key.config).rounds)
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


def _adapted_domains(spark: SparkSession, path: str, version: str) -> set[int]:
    done = tables.read(spark, path).where(F.col("model_version") == version).select("domain_id")
    return set(done.toPandas()["domain_id"].tolist())


def _waves(buckets: set[int], size: int) -> list[list[int]]:
    ordered = sorted(buckets)
    return [ordered[begin : begin + size] for begin in range(0, len(ordered), size)]


if __name__ == "__main__":
    run_job("dr_longtail", dr_longtail)
