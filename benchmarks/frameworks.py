"""Measures the speed of each framework: rows/s in a round of theta^S, and domains/s in a round of theta^i.

    python benchmarks/frameworks.py [--model mlp] [--device cuda]

One core or one GPU, 951 domains with sizes as 1/rank, 60,000 rows in memory. Prints a table and, as the last line, one
JSON object.
"""

import argparse
import time

import numpy as np
import torch

from benchmarks.figures import print_figures
from training.config import FrameworkConfig, ModelConfig, TrainingConfig
from training.config.framework_settings import FrameworkSettings
from training.config.frameworks import SHARED
from training.data.columns import Columns
from training.data.patch import Patch
from training.data.schema import Schema
from training.distributed.device import choose_device, use_cpu
from training.distributed.ranks import Ranks
from training.frameworks.common.inner_step import InnerOptimizer
from training.frameworks.common.registry import find_shared, prepare
from training.frameworks.common.round import RoundContext
from training.frameworks.specific.adapter import Adapter, Keep
from training.frameworks.specific.helper_rows import HelperRows
from training.models import build_model
from training.parameters.shared import SharedParameters

DOMAINS, ROWS, USERS, ITEMS = 951, 60_000, 600, 9_000
REPEATS = 3


def main() -> None:
    """Measures all frameworks and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mlp")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    model, device = arguments.model, choose_device(arguments.device, 0, 1)
    use_cpu(threads=1)
    columns, schema = draw_rows(), Schema.of({"user_id": USERS, "item_id": ITEMS, "domain_id": DOMAINS})
    shared = {name: rows_per_second(name, model, device, columns, schema) for name in SHARED if name != "none"}
    specific = {name: domains_per_second(name, model, device, columns, schema) for name in ("finetune", "dr")}
    print(f"{'framework':<12}{'rows/s':>10}{'/ alternate':>14}")
    for name, rate in shared.items():
        print(f"{name:<12}{rate:>10,.0f}{rate / shared['alternate']:>14.2f}")
    for name, rate in specific.items():
        print(f"{name:<12}{rate:>10,.0f} domains/s a round")
    print_figures(model=model, device=device.type, rows_per_second=shared, domains_per_second=specific)


def draw_rows() -> Columns:
    """Draws ROWS random rows, sorted by domain, with domain sizes proportional to 1/rank."""
    rng = np.random.default_rng(0)
    shares = 1 / np.arange(1, DOMAINS + 1)
    sizes = np.maximum(5, np.round(ROWS * shares / shares.sum())).astype(int)
    count = sizes.sum()
    return {
        "domain_id": np.repeat(np.arange(DOMAINS, dtype=np.int32), sizes),
        "user_id": rng.integers(USERS, size=count),
        "item_id": rng.integers(ITEMS, size=count),
        "label": rng.integers(2, size=count).astype(np.float32),
    }


def rows_per_second(name: str, model_name: str, device: torch.device, columns: Columns, schema: Schema) -> float:
    """Returns the rows/s of the fastest of REPEATS rounds."""
    model = build_model(ModelConfig(name=model_name), schema, 0)
    prepare(model, schema, FrameworkConfig(shared=name))
    model.to(device)
    theta = SharedParameters.of(model)
    patch = Patch(columns, theta.features_of, device, torch.float32)
    run = RoundContext(
        InnerOptimizer(model, 1e-3), FrameworkConfig(outer_lr=0.5), TrainingConfig(), Ranks(), np.random.default_rng(0)
    )
    seconds = []
    for _ in range(REPEATS):
        start = time.monotonic()
        find_shared(name)(theta, patch, run)
        theta.like.sum().item()  # wait for the GPU
        seconds.append(time.monotonic() - start)
    return patch.rows / min(seconds)


def domains_per_second(name: str, model_name: str, device: torch.device, columns: Columns, schema: Schema) -> float:
    """Returns the domains/s of the faster of two rounds, including the copy of theta^i to the CPU."""
    model = build_model(ModelConfig(name=model_name), schema, 0).to(device)
    settings = FrameworkSettings(
        rounds=(name,),
        dr_inner_lr=1e-3,
        dr_lr=0.5,
        finetune_lr=1e-3,
        subspace_rows=4096,
        helpers=5,
        dr_batch_size=1024,
        seed=0,
    )
    adapter = Adapter(model, SharedParameters.of(model), HelperRows.of(columns, 128, 0), settings)
    none = {key: column[:0] for key, column in columns.items()}
    seconds = []
    for _ in range(2):
        start = time.monotonic()
        for adapted in adapter.adapt(columns, none, dict.fromkeys(range(DOMAINS), 1), Keep.LAST):
            adapted.offsets[1].dense.cpu()
        seconds.append(time.monotonic() - start)
    return DOMAINS / min(seconds)


if __name__ == "__main__":
    main()
