"""Learns the offsets of all tail domains of a model and stores them in domain_parameters, wave by wave."""

import time

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.tasks.adapt_domains import map_domains
from pipelines.tasks.model_key import ModelKey, latest_model_version
from pipelines.tasks.offset_table import adapted_domains, append_offsets, copy_offsets
from pipelines.tasks.tail_rounds import load_rounds
from training.artifacts import domain_parameters
from training.artifacts.domain_parameters import DomainRow
from training.artifacts.manifest import read_manifest
from training.artifacts.model_names import model_path
from training.config import Config
from training.config.framework_settings import adaptation_settings
from training.data.snapshot import Domains, take_snapshot
from training.errors import UserError
from training.frameworks.specific.adapter import AdaptedDomain, Keep, helpers_path
from training.parameters.shared import SharedParameters
from training.progress import ProgressBar

BUCKETS_PER_CORE = 8  # of a wave


def adapt_tail(spark: SparkSession, config: Config) -> dict:
    """Adapts the tail domains that have no offset yet, and returns the summary of dr_longtail.

    Raises:
        UserError: the framework learns no offsets, or the model is missing or incomplete.
    """
    start = time.monotonic()
    require_adaptation(config)
    snapshot = take_snapshot(config)
    key = ModelKey.find(config, snapshot.version)
    if not helpers_path(model_path(config, key.model_version)).exists():
        name = config.framework.name
        raise UserError(f"model {key.model_version} has no helpers: run training/train.py with framework.name={name}")
    path = config.table("domain_parameters")
    tail = snapshot.domains.where(~snapshot.domains.head & (snapshot.domains.rows_train > 0))
    trainable = tail.trainable(adaptation_settings(config).specific_min_rows)
    copied = _copy_unchanged(spark, tail, key)
    finished = adapted_domains(spark, path, key.model_version)
    remaining = [domain for domain in tail.domain_id.tolist() if domain not in finished]
    if remaining:
        rows = tables.read(spark, config.table("samples"), snapshot.version)
        rounds = dict.fromkeys(remaining, 0) | load_rounds(rows, trainable, key)
        bucket_of = dict(zip(tail.domain_id.tolist(), tail.first_bucket.tolist(), strict=True))
        size = BUCKETS_PER_CORE * spark.sparkContext.defaultParallelism
        bar = ProgressBar("adapting tail domains", len(remaining), "domains")
        for buckets in split_waves({bucket_of[domain] for domain in remaining}, size):
            members = [domain for domain in remaining if bucket_of[domain] in buckets]
            append_offsets(learn_offsets(rows, {d: rounds[d] for d in members}, buckets, key), path)
            bar.update(len(members))
        bar.close()
    seconds = time.monotonic() - start
    return {
        "domains": len(remaining),
        "domains_skipped": len(tail) - len(remaining),
        "domains_kept": copied,
        "domains_too_small": len(tail) - len(trainable),
        "seconds": round(seconds, 3),
        "domains_per_second": round(len(remaining) / seconds, 2),
        "table_version": tables.version(path),
    }


def require_adaptation(config: Config) -> None:
    """Raises UserError if the framework learns no domain offsets."""
    if config.framework.specific == "none":
        raise UserError(f"framework {config.framework.name} learns no domain offsets: set framework.name=mamdr")


def learn_offsets(rows: DataFrame, rounds: dict[int, int], buckets: list[int], key: ModelKey) -> DataFrame:
    """Learns the offsets of the domains in `rounds`, each in that many rounds.

    Returns:
        Rows of domain_parameters.
    """

    dtype = adaptation_settings(key.config).specific_dtype

    def to_row(adapted: AdaptedDomain, bucket: int, theta: SharedParameters) -> dict:
        row = DomainRow.of(adapted, rounds[adapted.domain_id], key.model_version, bucket)
        return domain_parameters.to_row(row, theta, dtype)

    return map_domains(rows, rounds, buckets, key, Keep.LAST, to_row, domain_parameters.SCHEMA)


def split_waves(buckets: set[int], size: int) -> list[list[int]]:
    """Splits sorted buckets into waves of `size`; the last may be smaller.

    >>> split_waves({4, 1, 2}, 2)
    [[1, 2], [4]]
    """
    ordered = sorted(buckets)
    return [ordered[begin : begin + size] for begin in range(0, len(ordered), size)]


def _copy_unchanged(spark: SparkSession, tail: Domains, key: ModelKey) -> int:
    """Copies the offsets of tail domains that changed little since the model that training started from.

    A domain changed little if its number of training rows moved by less than `framework.refresh_share`.

    Returns:
        The number of such domains, also of those that an earlier run copied.
    """
    config, share = key.config, key.config.framework.refresh_share
    origin = read_manifest(model_path(config, key.shared_version)).get("started_from")
    if share is None or origin is None:
        return 0
    stored = tables.read(spark, config.table("domain_parameters"))
    sizes = list(zip(tail.domain_id.tolist(), tail.rows_train.tolist(), strict=True))
    current = spark.createDataFrame(sizes, "domain_id INT, current BIGINT")
    earlier = stored.where(F.col("model_version") == latest_model_version(config, origin)).join(current, "domain_id")
    unchanged = earlier.where(F.abs(F.col("current") - F.col("rows_train")) < share * F.col("rows_train"))
    finished = stored.where(F.col("model_version") == key.model_version).select("domain_id")
    missing = unchanged.drop("current").join(finished, "domain_id", "left_anti")
    if not missing.isEmpty():
        copy_offsets(missing, key)
    return unchanged.count()
