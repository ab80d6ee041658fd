"""Measures whether long runs grow: two ranks over 200 epochs, and Spark over 100 jobs of DR in one session.

    python -m benchmarks.soak [--epochs 200] [--jobs 100]

The data is ml-latest-small. Compares the last fifth of a run with the second fifth, when everything is loaded. Memory
is a ratio of means. Files and threads are differences of medians, because a maximum belongs to a single moment. Prints
a table and, as the last line, one JSON object.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from statistics import mean, median

import psutil
from tqdm import tqdm

from benchmarks.figures import print_figures
from pipelines.dr_longtail import dr_longtail
from pipelines.engine.session import spark_session
from training.config import load_config

CONFIG = "conf/ml_latest_small.yaml"
INTERVAL = 0.5  # seconds between two samples of the ranks
Usage = tuple[float, int, int]  # MiB, open files, threads


def main() -> None:
    """Runs both parts and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        settings = [
            f"root={root}",
            "track=false",
            f"training.epochs={arguments.epochs}",
            f"training.patience={arguments.epochs}",
        ]
        options = ["--config", CONFIG, *settings]
        subprocess.run(["spark-submit", "pipelines/build_domains.py", *options], check=True, stdout=subprocess.DEVNULL)
        usage = watch_ranks(["horovodrun", "-np", "2", sys.executable, "training/train.py", *options])
        usage |= watch_jobs(settings, arguments.jobs)
    growth = {name: compare(samples) for name, samples in usage.items()}
    print(f"{'process':<16}{'looks':>7}{'MiB':>8}{'x':>8}{'files':>7}{'threads':>9}")
    for name, row in growth.items():
        print(
            f"{name:<16}{row['looks']:>7}{row['mib']:>8.0f}{row['memory']:>8.3f}{row['files']:>+7g}{row['threads']:>+9g}"
        )
    print_figures(epochs=arguments.epochs, jobs=arguments.jobs, growth=growth)


def watch_ranks(command: list[str]) -> dict[str, list[Usage]]:
    """Runs a command; returns samples of each rank's usage while it runs."""
    usage = defaultdict(list)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                try:
                    rank = child.environ().get("HOROVOD_RANK")
                    if rank and "training/train.py" in child.cmdline()[1:2]:
                        usage[f"rank {rank}"].append(usage_of([child]))
                except psutil.Error:
                    continue  # the process has just ended
            time.sleep(INTERVAL)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return usage


def watch_jobs(settings: list[str], jobs: int) -> dict[str, list[Usage]]:
    """Runs `jobs` jobs of DR in one session; returns samples of the driver's and the workers' usage after each."""
    config = load_config(CONFIG, settings)
    spark = spark_session("soak")
    groups: dict[str, Callable[[], list[psutil.Process]]] = {
        "Python driver": lambda: [psutil.Process()],
        "Spark, workers": lambda: psutil.Process().children(recursive=True),
    }
    usage: dict[str, list[Usage]] = {name: [] for name in groups}
    for _ in tqdm(range(jobs), desc="dr_longtail", unit="job", file=sys.stderr):
        dr_longtail(spark, config)
        spark._jvm.System.gc()  # measure what is in use, not what waits to be collected
        for name, processes in groups.items():
            usage[name].append(usage_of(processes()))
        spark.sql(f"DELETE FROM delta.`{config.table('domain_parameters')}`")
    spark.stop()
    return usage


def usage_of(processes: list[psutil.Process]) -> Usage:
    """Returns the total memory in MiB, open files and threads of some processes."""
    memory = sum(process.memory_full_info().uss for process in processes) / 2**20
    return memory, sum(process.num_fds() for process in processes), sum(process.num_threads() for process in processes)


def compare(samples: list[Usage]) -> dict:
    """Compares the last fifth of the samples with the second fifth."""
    fifth = max(1, len(samples) // 5)
    early, late = (list(zip(*usages, strict=True)) for usages in (samples[fifth : 2 * fifth], samples[-fifth:]))
    return {
        "looks": len(samples),
        "mib": mean(late[0]),
        "memory": mean(late[0]) / mean(early[0]),
        "files": median(late[1]) - median(early[1]),
        "threads": median(late[2]) - median(early[2]),
    }


if __name__ == "__main__":
    main()
