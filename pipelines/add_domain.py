"""Adds new domains to an existing model without retraining it: theta^S stays, only the new domains are adapted.

    spark-submit pipelines/add_domain.py --config conf/ml_latest_small.yaml [key=value ...]

First adds the new rows of the log to the tables, as build_domains.py does with data.incremental; existing ids stay.
Then extends the newest model that was trained with these settings: its tables get rows for the new ids, the offsets of
existing domains are copied bit by bit, and those of new domains are learned as in dr_longtail.py. Run the same command
again to resume an interrupted job.
"""

import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.engine.session import run_job
from pipelines.samples.incremental.add_rows import add_rows
from pipelines.tasks.adapt_tail import adapt_tail, require_adaptation
from pipelines.tasks.model_key import ModelKey, latest_model_version
from pipelines.tasks.offset_table import copy_offsets
from training.artifacts.domain_parameters import written_domains
from training.artifacts.manifest import is_stored, read_manifest
from training.artifacts.model_folder import fetch_model
from training.artifacts.model_names import model_path, shared_version
from training.artifacts.warm_start import extend_theta, newest_trained_version
from training.config import Config
from training.data.frozen_vectors import align_vectors
from training.data.snapshot import take_snapshot
from training.files.mirror import mirror_of
from training.frameworks.specific.adapter import copy_adapter


def add_domain(spark: SparkSession, config: Config) -> dict:
    """Runs the whole job and returns its summary. Raises UserError."""
    start = time.monotonic()
    require_adaptation(config)
    _newest_model(config, take_snapshot(config).version)
    added = add_rows(spark, config)
    snapshot = take_snapshot(config)
    folder = model_path(config, shared_version(config, snapshot.version))
    if not is_stored(folder):
        origin = _newest_model(config, snapshot.version)
        extend_theta(model_path(config, origin.shared_version), folder, config, snapshot, align_vectors(config))
        mirror_of(config.root, folder).publish()
    copied = _copy_existing(spark, config, snapshot.version)
    learned = adapt_tail(spark, config)
    return {
        **{name: added[name] for name in ("rows_in", "rows_kept", "rows_rejected", "rows_duplicate", "domains")},
        "domains_taken_over": copied,
        "domains_learned": learned["domains"],
        "model_version": ModelKey.find(config, snapshot.version).model_version,
        "table_version": snapshot.version,
        "seconds": round(time.monotonic() - start, 3),
    }


def _newest_model(config: Config, table_version: int) -> ModelKey:
    """Returns the newest model with these settings, up to this version of the samples. Raises UserError if none is."""
    stored = newest_trained_version(config, table_version)
    return ModelKey.find(config, table_version if stored is None else stored)


def _copy_existing(spark: SparkSession, config: Config, table_version: int) -> int:
    """Copies domain offsets, and what adaptation needs, from the model that this one was extended from.

    Returns:
        The number of domains copied; 0 if the model was not extended from another.
    """
    extended = ModelKey.find(config, table_version)
    origin = read_manifest(model_path(config, extended.shared_version)).get("grown_from")
    if origin is None:
        return 0
    origin_version = latest_model_version(config, origin)
    copy_adapter(fetch_model(config, origin_version), model_path(config, extended.model_version))
    mirror_of(config.root, model_path(config, extended.model_version)).publish()
    path = config.table("domain_parameters")
    parameters = tables.read(spark, path)
    if not written_domains(path, extended.model_version):
        copy_offsets(parameters.where(F.col("model_version") == origin_version), extended)
    return len(written_domains(path, origin_version))


if __name__ == "__main__":
    run_job("add_domain", add_domain)
