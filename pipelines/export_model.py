"""Makes a model for MLflow to serve out of what scoring reads: ROOT/serving/model.

    spark-submit pipelines/export_model.py --config conf/ml_latest_small.yaml [key=value ...]
    mlflow models serve --env-manager local --model-uri ROOT/serving/model

The model is the one that was promoted, or several where domains have one of their own; without any, that of the
settings. It names theta^S, theta^i and the files of keys below ROOT, and reads them there: export again after a
promotion. Keys are written once for each version of the tables.
"""

import time
import warnings
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.engine.session import run_job
from pipelines.serving.promotions import Served, find_served
from training.config import Config
from training.errors import UserError
from training.files.atomic_write import atomic_write
from training.serving import key_files
from training.tracking import open_tracker

KEYS_A_SLICE = 1_000_000
CODE = Path(key_files.__file__).with_name("mlflow_model.py")


def export_model(spark: SparkSession, config: Config) -> dict:
    """Runs the whole job and returns its summary. Raises UserError."""
    start = time.monotonic()
    models = [describe(one, write_keys(spark, one)) for one in find_served(spark, config)]
    path = config.folder("serving", "model")
    save(path, models, config)
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


def write_keys(spark: SparkSession, served: Served) -> dict[str, str]:
    """By user, item and domain the folder below ROOT with their keys, ids and features, which is written if need be."""
    frames = {f"{owner}s": served.read(spark, f"{owner}s") for owner in ("user", "item", "domain")}
    domain_id = F.col("domain_id").cast("bigint")
    frames["domains"] = frames["domains"].select(F.col("domain_key").alias("key"), domain_id.alias("id"))
    folders = {}
    for table, frame in frames.items():
        folders[table.removesuffix("s")] = folder = f"serving/keys/{table}-{served.versions[table]}"
        _write(frame, served.key.config.folder(folder))
    return folders


def _write(frame: DataFrame, folder: Path) -> None:
    if folder.exists():
        return
    slices = -(-frame.count() // KEYS_A_SLICE)
    sliced = frame.withColumn("slice", F.pmod(F.crc32("key"), F.lit(slices)).cast("int"))
    with atomic_write(folder) as aside:

        def write(of_slice: pa.Table) -> pa.Table:
            number = of_slice["slice"][0].as_py()
            key_files.write_slice(of_slice.drop_columns("slice"), aside, number, slices)
            return pa.table({"keys": [len(of_slice)]})

        sliced.groupBy("slice").applyInArrow(write, "keys long").collect()


def describe(served: Served, folders: dict[str, str]) -> dict:
    """What training/serving/served_model.py opens a model by."""
    return {
        "domain": served.domain,
        "model_version": served.version,
        "table_version": served.key.table_version,
        "settings": asdict(served.key.config),
        "keys": folders,
    }


def save(path: Path, models: list[dict], config: Config) -> None:
    """Writes the model at `path`, in place of one that is there. Raises UserError where MLflow is not installed."""
    try:
        mlflow = import_module("mlflow")
    except ImportError:
        raise UserError("MLflow is not installed, and a model for it cannot be made: pip install mlflow") from None
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array

    keys_in = [ColSpec("string", "domain"), ColSpec("string", "user"), ColSpec(Array(DataType.string), "items")]
    root = str(config.folder())
    with atomic_write(path) as aside, warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*An input example was not provided")
        mlflow.pyfunc.save_model(
            aside,
            python_model=str(CODE),
            model_config={"served": models, "root": root, "cached_domains": config.serve.cached_domains},
            signature=ModelSignature(Schema(keys_in), params=ParamSchema([ParamSpec("top_k", "long", 0)])),
            pip_requirements=["mamdr"],
        )


if __name__ == "__main__":
    run_job("export_model", export_model)
