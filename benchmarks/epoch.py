"""Measures the overhead of the trainer: an epoch of DN, compared with a bare loop over tensors in memory.

    python benchmarks/epoch.py [--work FOLDER] [--scale 0.002]

One rank with one thread trains on the log that pipelines/generate_taobao_online.py draws (69,102 domains), once with
frozen vectors and once with trained embeddings. The trainer reads its rows by Petastorm, passes over the domains and
takes the outer step. The bare loop has the same batches and does what a PyTorch script would: module, backward, Adam,
and SparseAdam for tables. Prints a table and, as the last line, one JSON object.
"""

import argparse
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.figures import print_figures
from training.artifacts.manifest import read_manifest
from training.config import Config, load_config
from training.data.domain_batches import domain_walk
from training.data.frozen_vectors import load_vectors
from training.data.patch import Patch
from training.data.petastorm_reader import read_buckets
from training.data.snapshot import take_snapshot
from training.distributed.device import use_cpu
from training.models import build_model
from training.parameters.shared import SharedParameters

CONFIG = "conf/taobao_online.yaml"
TRAINED = ["model.user_vectors=null", "model.item_vectors=null"]
EPOCHS = 3  # the first is a warm-up and does not count


def main() -> None:
    """Measures both loops with both kinds of vectors and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/epoch"))
    parser.add_argument("--scale", type=float, default=0.002)
    arguments = parser.parse_args()
    root = arguments.work / str(arguments.scale)
    settings = [f"root={root}", f"data.path={root}/log", f"data.scale={arguments.scale}", f"training.epochs={EPOCHS}"]
    settings += [f"model.{name}_vectors={root}/tables/{name}_vectors" for name in ("user", "item")]
    settings += ["framework.name=dn", "training.device=cpu", "track=false"]
    build(root, settings)
    shutil.rmtree(root / "models", ignore_errors=True)  # a finished model would not be trained again
    use_cpu(threads=1)
    figures = {}
    for name, vector_settings in {"frozen": [], "trained": TRAINED}.items():
        trainer = trainer_seconds([*settings, *vector_settings])
        bare = bare_seconds(load_config(CONFIG, [*settings, *vector_settings]))
        figures[name] = {"trainer": trainer, "bare": bare, "ratio": bare / trainer}
        print(f"{name:<8} vectors: trainer {trainer:.1f} s, bare loop {bare:.1f} s, ratio {bare / trainer:.2f}")
    print_figures(scale=arguments.scale, **figures)


def build(root: Path, settings: list[str]) -> None:
    """Draws the log and builds the tables, unless that is done."""
    done = root / "built"
    if not done.exists():
        for job in ("generate_taobao_online", "build_domains"):
            output_of("spark-submit", f"pipelines/{job}.py", "--config", CONFIG, *settings)
        done.touch()


def trainer_seconds(settings: list[str]) -> float:
    """Returns the seconds of an epoch's rounds, without validation and checkpoint."""
    summary = json.loads(output_of("python", "training/train.py", "--config", CONFIG, *settings).splitlines()[-1])
    history = read_manifest(Path(summary["model_path"]))["progress"]["history"]
    return float(np.mean([sum(epoch["seconds_by_part"].values()) for epoch in history[1:]]))


def bare_seconds(config: Config) -> float:
    """Returns the seconds of the same number of steps on the same rows, all of them in memory."""
    snapshot = take_snapshot(config)
    model = build_model(config.model, snapshot.schema, config.seed, load_vectors(config))
    theta = SharedParameters.of(model)
    columns = read_buckets(snapshot, "train")
    patch = Patch(columns, theta.features_of, torch.device("cpu"), torch.float32)
    walk = domain_walk(patch, config.training.batch_size, config.training.pack, np.random.default_rng(0))
    batches = [torch.from_numpy(rows) for unit in walk for rows in unit]
    for table in model.modules():
        if isinstance(table, nn.Embedding):
            table.sparse = True
    learned = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    tables = [parameter for name, parameter in learned.items() if name in model.tables]
    optimizers = [torch.optim.Adam([p for name, p in learned.items() if name not in model.tables])]
    optimizers += [torch.optim.SparseAdam(tables)] if tables else []
    model.train()
    start = time.monotonic()
    for rows in batches:
        features = {name: column[rows] for name, column in patch.features.items()}
        for optimizer in optimizers:
            optimizer.zero_grad()
        binary_cross_entropy_with_logits(model(features), patch.labels[rows]).backward()
        for optimizer in optimizers:
            optimizer.step()
    return time.monotonic() - start


def output_of(*command: str) -> str:
    """Runs a command on one thread; returns its standard output."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env).stdout


if __name__ == "__main__":
    main()
