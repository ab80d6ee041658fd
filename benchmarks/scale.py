"""Measures time and peak memory of each job on a log of Taobao-online's shape.

    python -m benchmarks.scale --scale 0.01 [--work FOLDER] [--jobs generate,build,one_rank,train,dr,evaluate]
        [key=value ...]

There are two more jobs: `fill` adds users and items up to the numbers of the whole of Taobao-online, and `sharded`
trains embeddings of all of them on two ranks.

Jobs run one after another as a user runs them, with 6 GiB for Spark's driver. Their output stays in FOLDER
(runs/scale/SCALE), so more jobs can follow later. Memory is that of the whole process tree; a shared page counts once.
Prints a table and, as the last line, one JSON object.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median

import psutil
from tqdm import tqdm

from benchmarks.figures import print_figures
from training.data.delta_files import open_table

SUBMIT = ["spark-submit", "--driver-memory", "6g"]
JOBS = {
    "generate": [*SUBMIT, "pipelines/generate_taobao_online.py"],
    "build": [*SUBMIT, "pipelines/build_domains.py"],
    "one_rank": ["horovodrun", "-np", "1", "env", "OMP_NUM_THREADS=1", "python", "training/train.py"],
    "train": ["horovodrun", "-np", "2", "python", "training/train.py"],
    "dr": [*SUBMIT, "pipelines/dr_longtail.py"],
    "evaluate": [*SUBMIT, "pipelines/evaluate.py"],
    "fill": [*SUBMIT, "benchmarks/fill_keys.py"],
    "sharded": ["horovodrun", "-np", "2", "python", "training/train.py"],
}
DEFAULT = "generate,build,one_rank,train,dr,evaluate"
JOB_SETTINGS = {
    "one_rank": ["seed=1"],  # a model of its own, beside that of two ranks
    "sharded": ["model.user_vectors=null", "model.item_vectors=null", "training.sharded=[user_id,item_id]"],
}
INTERVAL = 0.5  # seconds between two samples of the memory


def main() -> None:
    """Runs the jobs and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=0.001)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--jobs", default=DEFAULT)
    parser.add_argument("settings", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    work = arguments.work or Path(f"runs/scale/{arguments.scale:g}")
    figures = {}
    for name in tqdm(arguments.jobs.split(","), desc="jobs", unit="job", file=sys.stderr):
        settings = [f"data.scale={arguments.scale}", *arguments.settings, *JOB_SETTINGS.get(name, [])]
        figures[name] = measure(command_of(name, work, settings))
    if {"one_rank", "train"} <= set(figures):
        speeds = [figures[name]["samples_per_second"] for name in ("train", "one_rank")]
        figures["train"]["against_one_rank"] = speeds[0] / speeds[1]
    if "build" in figures:
        figures["build"] |= describe_files(work / "tables" / "samples")
    print(f"{'job':<10}{'seconds':>10}{'GiB':>8}")
    for name, job in figures.items():
        print(f"{name:<10}{job['seconds_in_all']:>10.0f}{job['peak_gib']:>8.2f}")
    print_figures(scale=arguments.scale, settings=arguments.settings, **figures)


def command_of(job: str, work: Path, settings: Sequence[str]) -> list[str]:
    """Returns the command of a job whose log, tables and vectors are in the folder `work`."""
    paths = [f"root={work}", f"data.path={work}/log"]
    paths += [f"model.{name}_vectors={work}/tables/{name}_vectors" for name in ("user", "item")]
    return [*JOBS[job], "--config", "conf/taobao_online.yaml", *paths, "track=false", *settings]


def measure(command: list[str]) -> dict:
    """Runs a command; returns its summary with the total seconds and the peak memory in GiB."""
    start, peak = time.monotonic(), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            peak = max(peak, memory_of(process.pid))
            time.sleep(INTERVAL)
        seconds = time.monotonic() - start
        lines = process.stdout.read().splitlines()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    last = lines[-1]
    return json.loads(last[last.index("{") :]) | {"seconds_in_all": round(seconds, 1), "peak_gib": peak / 2**30}


def memory_of(pid: int) -> int:
    """Returns the bytes that a process and its descendants hold; a shared page counts once."""
    total = 0
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            total += process.memory_full_info().pss
    except psutil.NoSuchProcess:  # a process has just ended; the next sample counts the others
        pass
    return total


def describe_files(path: Path) -> dict:
    """Returns how evenly buckets share the training rows, and how large the table's files are."""
    actions = open_table(str(path)).get_add_actions(flatten=True)
    columns = {name: actions[name].to_pylist() for name in ("partition.split", "num_records", "size_bytes")}
    rows = [
        count
        for count, split in zip(columns["num_records"], columns["partition.split"], strict=True)
        if split == "train"
    ]
    sizes = columns["size_bytes"]
    return {
        "buckets": len(rows),
        "largest_bucket": max(rows) / mean(rows),
        "median_file_mb": median(sizes) / 1e6,
        "bytes_a_sample": sum(sizes) / sum(columns["num_records"]),
    }


if __name__ == "__main__":
    main()
