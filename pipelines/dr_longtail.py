"""Learns theta^i of every tail domain against theta^S, by DR or finetuning, many domains a task.

    spark-submit pipelines/dr_longtail.py --config conf/ml_latest_small.yaml [key=value ...]

Settings are those that training/train.py ran with: they name the model. Buckets are adapted in waves, each of which
ends in one commit; a job that is started again goes on after the last one.
"""

import sys
import time

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from tqdm import tqdm

from pipelines.engine import tables
from pipelines.engine.session import run_job
from pipelines.serving.offset_table import adapted_domains, append_offsets, copy_offsets
from pipelines.tasks.adapt_domains import map_domains
from pipelines.tasks.model_key import ModelKey, latest_model_version
from pipelines.tasks.tail_rounds import load_rounds
from training.artifacts import domain_parameters
from training.artifacts.domain_parameters import DomainRow
from training.artifacts.model_names import model_path
from training.artifacts.model_store import read_manifest
from training.config import Config
from training.config.framework_settings import adaptation_settings
from training.data.snapshot import Domains, take_snapshot
from training.errors import UserError
from training.frameworks.specific.adapter import AdaptedDomain, Keep, helpers_path
from training.parameters.shared import SharedParameters

WAVE = 8  # buckets a core


def dr_longtail(spark: SparkSession, config: Config) -> dict:
    """Runs the whole job and returns its summary. Raises UserError."""
    start = time.monotonic()
    if config.framework.specific == "none":
        raise UserError(f"framework {config.framework.name} adds nothing by domain: set framework.name=mamdr")
    snapshot = take_snapshot(config)
    key = ModelKey.find(config, snapshot.version)
    if not helpers_path(model_path(config, key.model_version)).exists():
        name = config.framework.name
        raise UserError(f"model {key.model_version} has no helpers: run training/train.py with framework.name={name}")
    path = config.table("domain_parameters")
    tail = snapshot.domains.where(~snapshot.domains.head & (snapshot.domains.rows_train > 0))
    able = tail.trainable(adaptation_settings(config).specific_min_rows)
    kept = _keep_unchanged(spark, tail, key)
    done = adapted_domains(spark, path, key.model_version)
    left = [domain for domain in tail.domain_id.tolist() if domain not in done]
    if left:
        rows = tables.read(spark, config.table("samples"), snapshot.version)
        rounds = dict.fromkeys(left, 0) | load_rounds(rows, able, key)
        bucket_of = dict(zip(tail.domain_id.tolist(), tail.first_bucket.tolist(), strict=True))
        waves = _waves({bucket_of[domain] for domain in left}, WAVE * spark.sparkContext.defaultParallelism)
        for buckets in tqdm(waves, desc="theta^i, tail domains", unit="wave", file=sys.stderr):
            chosen = {domain: rounds[domain] for domain in left if bucket_of[domain] in buckets}
            append_offsets(adapt(rows, chosen, buckets, key), path)
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

    dtype = adaptation_settings(key.config).specific_dtype

    def to_row(adapted: AdaptedDomain, bucket: int, theta: SharedParameters) -> dict:
        row = DomainRow.of(adapted, rounds[adapted.domain_id], key.model_version, bucket)
        return domain_parameters.to_row(row, theta, dtype)

    return map_domains(rows, rounds, buckets, key, Keep.LAST, to_row, domain_parameters.SCHEMA)


def _keep_unchanged(spark: SparkSession, tail: Domains, key: ModelKey) -> int:
    """Lets tail domains that changed little keep theta^i of the model that training started from; returns their number.

    Little is by less than `framework.refresh_share` of the training rows that theta^i was learned from.
    """
    config, share = key.config, key.config.framework.refresh_share
    origin = read_manifest(model_path(config, key.shared_version)).get("started_from")
    if share is None or origin is None:
        return 0
    before = latest_model_version(config, origin)
    table = tables.read(spark, config.table("domain_parameters"))
    sizes = list(zip(tail.domain_id.tolist(), tail.rows_train.tolist(), strict=True))
    now = spark.createDataFrame(sizes, "domain_id INT, now BIGINT")
    old = table.where(F.col("model_version") == before).join(now, "domain_id")
    unchanged = old.where(F.abs(F.col("now") - F.col("rows_train")) < share * F.col("rows_train")).drop("now")
    there = table.where(F.col("model_version") == key.model_version).select("domain_id")
    missing = unchanged.join(there, "domain_id", "left_anti")
    if not missing.isEmpty():
        copy_offsets(missing, key)
    return unchanged.count()


def _waves(buckets: set[int], size: int) -> list[list[int]]:
    ordered = sorted(buckets)
    return [ordered[begin : begin + size] for begin in range(0, len(ordered), size)]


if __name__ == "__main__":
    run_job("dr_longtail", dr_longtail)
