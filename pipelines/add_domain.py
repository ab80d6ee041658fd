"""Serves new domains by the model that is there: theta^S stays, and theta^i is learned for the new domains alone.

    spark-submit pipelines/add_domain.py --config conf/ml_latest_small.yaml [key=value ...]

The new rows of the log are added to the tables first, as build_domains.py does with data.incremental; ids stay. The
model is the newest that was trained with these settings. Its tables get rows for the new ids, theta^i of the domains
that it has is taken over bit by bit, and that of the new ones learned as dr_longtail.py does it. A job that was cut off
goes on where it stopped.
"""

import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.dr_longtail import dr_longtail
from pipelines.engine import tables
from pipelines.engine.session import run_job
from pipelines.samples.incremental.add_rows import add_rows
from pipelines.serving.offset_table import copy_offsets
from pipelines.tasks.model_key import ModelKey, latest_model_version
from training.artifacts.domain_parameters import written_domains
from training.artifacts.model_folder import fetch_model
from training.artifacts.model_names import model_path, shared_version
from training.artifacts.model_store import is_stored, read_manifest
from training.artifacts.warm_start import extend_theta, newest_trained_version
from training.config import Config
from training.data.frozen_vectors import align_vectors
from training.data.snapshot import take_snapshot
from training.errors import UserError
from training.files.mirror import mirror_of
from training.frameworks.specific.adapter import copy_adapter


def add_domain(spark: SparkSession, config: Config) -> dict:
    """Runs the whole job and returns its summary. Raises UserError."""
    start = time.monotonic()
    if config.framework.specific == "none":
        raise UserError(f"framework {config.framework.name} adds nothing by domain: set framework.name=mamdr")
    _newest_model(config, take_snapshot(config).version)
    rows = add_rows(spark, config)
    snapshot = take_snapshot(config)
    folder = model_path(config, shared_version(config, snapshot.version))
    if not is_stored(folder):
        old = _newest_model(config, snapshot.version)
        extend_theta(model_path(config, old.shared_version), folder, config, snapshot, align_vectors(config))
        mirror_of(config.root, folder).publish()
    taken = _take_over(spark, config, snapshot.version)
    learned = dr_longtail(spark, config)
    return {
        **{name: rows[name] for name in ("rows_in", "rows_kept", "rows_rejected", "rows_duplicate", "domains")},
        "domains_taken_over": taken,
        "domains_learned": learned["domains"],
        "model_version": ModelKey.find(config, snapshot.version).model_version,
        "table_version": snapshot.version,
        "seconds": round(time.monotonic() - start, 3),
    }


def _newest_model(config: Config, table_version: int) -> ModelKey:
    """The model with these settings of this version of the tables, or of the newest before. Raises UserError."""
    stored = newest_trained_version(config, table_version)
    return ModelKey.find(config, table_version if stored is None else stored)


def _take_over(spark: SparkSession, config: Config, table_version: int) -> int:
    """Lets a model that has grown have what the one that it grew from has by domain; of how many domains it was."""
    new = ModelKey.find(config, table_version)
    origin = read_manifest(model_path(config, new.shared_version)).get("grown_from")
    if origin is None:
        return 0
    old = latest_model_version(config, origin)
    copy_adapter(fetch_model(config, old), model_path(config, new.model_version))
    mirror_of(config.root, model_path(config, new.model_version)).publish()
    path = config.table("domain_parameters")
    parameters = tables.read(spark, path)
    if not written_domains(path, new.model_version):
        copy_offsets(parameters.where(F.col("model_version") == old), new)
    return len(written_domains(path, old))


if __name__ == "__main__":
    run_job("add_domain", add_domain)
