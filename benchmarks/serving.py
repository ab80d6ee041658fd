"""Measures the latency of the served model for 100 candidates, for cold domains (first request) and warm ones.

    python benchmarks/serving.py --config conf/ml_latest_small.yaml [key=value ...]

Give the settings that pipelines/export_model.py ran with. The model answers in this process, without HTTP. Prints a
table and, as the last line, one JSON object.
"""

import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd

from benchmarks.figures import print_figures
from training.config import parse_arguments
from training.data.delta_files import read_columns

CANDIDATES = 100
MAX_DOMAINS = 500


def main() -> None:
    """Sends the requests twice and prints the percentiles."""
    config = parse_arguments(sys.argv[1:])
    rng = np.random.default_rng(config.seed)
    users, items = (read_columns(config.table(name), ["key"])["key"] for name in ("users", "items"))
    domains = rng.permutation(read_columns(config.table("domains"), ["domain_key"])["domain_key"])[:MAX_DOMAINS]
    model = mlflow.pyfunc.load_model(str(Path(config.root, "serving", "model")))
    latencies = {}
    for name in ("cold", "warm"):
        milliseconds = []
        for domain in domains:
            candidates = rng.choice(items, min(CANDIDATES, len(items)), replace=False).tolist()
            request = pd.DataFrame({"domain": [domain], "user": [rng.choice(users)], "items": [candidates]})
            start = time.perf_counter()
            model.predict(request)
            milliseconds.append(1000 * (time.perf_counter() - start))
        latencies[name] = dict(zip(("p50_ms", "p99_ms"), np.percentile(milliseconds, [50, 99]).round(2), strict=True))
    print(f"{'domains':<10}{'p50':>8}{'p99':>8}   ms")
    for name, figures in latencies.items():
        print(f"{name:<10}{figures['p50_ms']:>8.1f}{figures['p99_ms']:>8.1f}")
    print_figures(domains=len(domains), candidates=CANDIDATES, **latencies)


if __name__ == "__main__":
    main()
