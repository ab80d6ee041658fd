"""Measures the quality of the methods on three data sets and three seeds, through the whole chain.

    python benchmarks/quality.py [--work FOLDER]

Builds with Spark, trains under horovodrun, adapts and evaluates with Spark. Finished cells are kept in FOLDER
(runs/quality), so an interrupted run resumes. Prints a table and, as the last line, one JSON object.
"""

import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from tqdm import tqdm

from benchmarks.figures import print_figures
from benchmarks.planted import draw_planted, write_planted
from pipelines.build_domains import build_domains
from pipelines.dr_longtail import dr_longtail
from pipelines.engine.session import spark_session
from pipelines.evaluate import evaluate
from training.compare import baselines
from training.config import load_config
from training.data.delta_files import read_columns
from training.metrics import domain_auc

SEEDS = (0, 1, 2)
METHODS = ("optimum", "popularity", "linear", "joint", "alternate", "dn", "mamdr", "joint_dr")
CONFLICT = {"planted": 0.5, "planted_0": 0.0}
DATA = ("ml_latest_small", *CONFLICT)

# Chosen on validation rows; all other settings are those of conf/ or the defaults.
SETTINGS = {
    "ml_latest_small": {
        "joint_dr": ["framework.inner_lr=0.001", "framework.dr_inner_lr=0.001", "training.patience=5"],
        "alternate": ["framework.inner_lr=0.001", "training.patience=5"],
        "mamdr": ["framework.dr_inner_lr=0.002"],
    },
    "planted": {
        "joint_dr": ["framework.inner_lr=0.001", "training.patience=6"],
        "alternate": ["framework.inner_lr=0.001", "training.patience=6"],
        "mamdr": ["framework.inner_lr=0.001", "framework.outer_lr=0.5", "training.patience=6"],
    },
}
SETTINGS["planted_0"] = SETTINGS["planted"]


def main() -> None:
    """Runs the missing cells and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/quality"))
    work = parser.parse_args().work
    start = time.monotonic()
    cells = [(data, seed) for data in DATA for seed in SEEDS]
    results: dict[str, dict] = {data: {} for data in DATA}
    spark = None
    for data, seed in tqdm(cells, desc="quality", unit="cell", file=sys.stderr):
        path = work / f"{data}-{seed}" / "result.json"
        if not path.exists():
            spark = spark or spark_session("quality")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(run_cell(spark, data, seed, path.parent)))
        results[data][str(seed)] = json.loads(path.read_text())
    print_table(results)
    print(f"{time.monotonic() - start:.0f} s", file=sys.stderr)
    print_figures(data=results)


def run_cell(spark: SparkSession, data: str, seed: int, folder: Path) -> dict[str, dict]:
    """Builds, trains, adapts and evaluates all methods on one data set and seed; returns metrics by method."""
    common = [f"root={folder}", f"seed={seed}", "track=false"]
    config_path = "conf/ml_latest_small.yaml"
    truth = None
    if data in CONFLICT:
        config_path = "conf/planted.yaml"
        write_planted(draw_planted(seed, CONFLICT[data]), folder)
        truth = folder / "log.parquet"
        vectors = [f"model.{name}_vectors={folder}/{name}_vectors" for name in ("user", "item")]
        common += [f"data.path={truth}", *vectors]
    commands = {name: [*common, f"framework.name={name}", *SETTINGS[data][name]] for name in SETTINGS[data]}
    build_domains(spark, load_config(config_path, common))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda settings: train(config_path, settings), commands.values()))
    result = {}
    for settings in commands.values():
        config = load_config(config_path, settings)
        if config.framework.specific == "dr":
            dr_longtail(spark, config)
        for model, metrics in evaluate(spark, config)["models"].items():
            result[model] = {key: metrics[key] for key in ("mean_domain_auc", "auc")}
    return result | score_baselines(folder, truth)


def train(config_path: str, settings: list[str]) -> None:
    """Trains with one rank on one core, because two trainings share the machine."""
    launcher = ["env", "OMP_NUM_THREADS=1", "horovodrun", "-np", "1"]
    command = [*launcher, sys.executable, "training/train.py", "--config", config_path, *settings]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")


def score_baselines(folder: Path, truth: Path | None) -> dict[str, dict]:
    """Returns the metrics of the baselines, and of the optimum where `truth` is given, on the test rows."""
    tables = folder / "tables"
    train_rows, test_rows = read_split(tables / "samples", "train"), read_split(tables / "samples", "test")
    scores = {
        "popularity": baselines.popularity(train_rows, test_rows),
        "linear": baselines.linear(train_rows, test_rows),
    }
    if truth is not None:
        scores["optimum"] = true_logits(tables, truth, test_rows)
    labels = test_rows["label"].to_numpy()
    return {
        name: {
            "mean_domain_auc": domain_auc(test_rows["domain_id"].to_numpy(), score, labels).mean,
            "auc": float(domain_auc(np.zeros(len(labels), int), score, labels).auc[0]),
        }
        for name, score in scores.items()
    }


def read_split(samples: Path, split: str) -> pd.DataFrame:
    """Reads ids and labels of one split of the table `samples`."""
    columns = ["domain_id", "user_id", "item_id", "label"]
    files = sorted(str(path) for path in (samples / f"split={split}").rglob("*.parquet"))
    return pd.concat([pq.ParquetFile(path).read(columns=columns).to_pandas() for path in files])


def true_logits(tables: Path, truth: Path, rows: pd.DataFrame) -> np.ndarray:
    """Returns the logits that the labels of `rows` were drawn from."""
    log = pq.read_table(truth).to_pandas()
    merged = rows
    for name in ("user", "item"):
        keys = pd.DataFrame(read_columns(str(tables / f"{name}s"), ["key", "id"]))
        merged = merged.merge(keys.rename(columns={"key": name, "id": f"{name}_id"}), how="left")
    keys = pd.DataFrame(read_columns(str(tables / "domains"), ["domain_key", "domain_id"]))
    merged = merged.merge(keys.rename(columns={"domain_key": "domain"}), how="left")
    return merged.merge(log[["user", "item", "domain", "logit"]], how="left")["logit"].to_numpy()


def print_table(results: dict) -> None:
    """Prints mean and standard deviation over seeds, as Markdown."""
    for data, seeds in results.items():
        print(f"\n{data}, {len(seeds)} seeds\n\n| method | mean-domain AUC | AUC, all rows |\n|---|---|---|")
        for method in METHODS:
            cells = [cell[method] for cell in seeds.values() if method in cell]
            if cells:
                columns = (
                    f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}"
                    for values in ([cell[key] for cell in cells] for key in ("mean_domain_auc", "auc"))
                )
                print(f"| {method} | {' | '.join(columns)} |")
    print()


if __name__ == "__main__":
    main()
