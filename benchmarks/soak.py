"""Whether long runs grow: two ranks over 200 epochs, and Spark over 100 jobs of DR in one session.

    python -m benchmarks.soak [--epochs 200] [--jobs 100]

On ml-latest-small. Compares memory, open files and threads in the second fifth of a run, when all is loaded, with
those in the last one. Prints a table and, as the last line, one JSON object: by process the ratio of mean memory, and
how many files and threads more the median look has; the most of a fifth is that of one moment, as in a read.
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
INTERVAL = 0.5  # seconds between two looks at the ranks
Look = tuple[float, int, int]  # MiB, open files, threads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=100)
    known = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        settings = [
            f"root={root}",
            "track=false",
            f"training.epochs={known.epochs}",
            f"training.patience={known.epochs}",
        ]
        chosen = ["--config", CONFIG, *settings]
        subprocess.run(["spark-submit", "pipelines/build_domains.py", *chosen], check=True, stdout=subprocess.DEVNULL)
        found = watch_ranks(["horovodrun", "-np", "2", sys.executable, "training/train.py", *chosen])
        found |= watch_jobs(settings, known.jobs)
    growth = {name: compare(looks) for name, looks in found.items()}
    print(f"{'process':<16}{'looks':>7}{'MiB':>8}{'x':>8}{'files':>7}{'threads':>9}")
    for name, one in growth.items():
        print(
            f"{name:<16}{one['looks']:>7}{one['mib']:>8.0f}{one['memory']:>8.3f}{one['files']:>+7g}{one['threads']:>+9g}"
        )
    print_figures(epochs=known.epochs, jobs=known.jobs, growth=growth)


def watch_ranks(command: list[str]) -> dict[str, list[Look]]:
    """What the ranks of a run held while it went on."""
    found = defaultdict(list)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for one in psutil.Process(process.pid).children(recursive=True):
                try:
                    rank = one.environ().get("HOROVOD_RANK")
                    if rank and "training/train.py" in one.cmdline()[1:2]:
                        found[f"rank {rank}"].append(look_at([one]))
                except psutil.Error:
                    continue  # it has just ended
            time.sleep(INTERVAL)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return found


def watch_jobs(settings: list[str], jobs: int) -> dict[str, list[Look]]:
    """What this process, Spark's driver and its Python workers held after each of so many jobs of DR in one session."""
    config = load_config(CONFIG, settings)
    spark = spark_session("soak")
    groups: dict[str, Callable[[], list[psutil.Process]]] = {
        "Python driver": lambda: [psutil.Process()],
        "Spark, workers": lambda: psutil.Process().children(recursive=True),
    }
    found = {name: [] for name in groups}
    for _ in tqdm(range(jobs), desc="dr_longtail", unit="job", file=sys.stderr):
        dr_longtail(spark, config)
        spark._jvm.System.gc()  # memory is what is kept, not what waits to be collected
        for name, processes in groups.items():
            found[name].append(look_at(processes()))
        spark.sql(f"DELETE FROM delta.`{config.table('domain_parameters')}`")
    spark.stop()
    return found


def look_at(processes: list[psutil.Process]) -> Look:
    memory = sum(process.memory_full_info().uss for process in processes) / 2**20
    return memory, sum(one.num_fds() for one in processes), sum(one.num_threads() for one in processes)


def compare(looks: list[Look]) -> dict:
    """The last fifth of the looks against the second one."""
    fifth = max(1, len(looks) // 5)
    early, late = (list(zip(*part, strict=True)) for part in (looks[fifth : 2 * fifth], looks[-fifth:]))
    return {
        "looks": len(looks),
        "mib": mean(late[0]),
        "memory": mean(late[0]) / mean(early[0]),
        "files": median(late[1]) - median(early[1]),
        "threads": median(late[2]) - median(early[2]),
    }


if __name__ == "__main__":
    main()
