"""Exports the models that scoring uses as one MLflow model, which answers requests online: ROOT/serving/model.

    spark-submit pipelines/export_model.py --config conf/ml_latest_small.yaml [key=value ...]
    mlflow models serve --env-manager local --model-uri ROOT/serving/model

Exports the promoted models: one for all domains, and those of single domains. If none is promoted, exports the model
that the settings name. The MLflow model carries the code that it runs. It refers to theta^S, the domain offsets and the
key files below ROOT, so export again after a promotion. Key files are written once per version of the tables.
"""

import time
from dataclasses import asdict

from pyspark.sql import SparkSession

from pipelines.engine.session import run_job
from pipelines.serving.key_slices import write_keys
from pipelines.serving.mlflow_export import save_model
from pipelines.serving.promotions import Served, find_served
from training.config import Config
from training.tracking import open_tracker


def export_model(spark: SparkSession, config: Config) -> dict:
    """Runs the whole job and returns its summary. Raises UserError."""
    start = time.monotonic()
    models = [describe(served, write_keys(spark, served)) for served in find_served(spark, config)]
    path = config.folder("serving", "model")
    save_model(path, models, config)
    tracker = open_tracker(config, models[0]["model_version"].split(".")[0])
    tracker.log_folder(path, "model")
    tracker.finish()
    return {
        "model": str(path),
        "models": len(models),
        "model_version": models[0]["model_version"],
        "table_version": models[0]["table_version"],
        "seconds": round(time.monotonic() - start, 3),
    }


def describe(served: Served, folders: dict[str, str]) -> dict:
    """Returns what training/serving/served_model.py needs to open a model."""
    return {
        "domain": served.domain,
        "model_version": served.version,
        "table_version": served.key.table_version,
        "settings": asdict(served.key.config),
        "keys": folders,
    }


if __name__ == "__main__":
    run_job("export_model", export_model)
