"""The chain on a log of Taobao-online's shape: the time of each job, and the most memory that all its processes took.

    python -m benchmarks.scale --scale 0.01 [--work FOLDER] [--jobs generate,build,one_rank,train,dr,evaluate]
        [key=value ...]

Two more jobs: fill adds users and items up to those of the whole of Taobao-online, and sharded trains embeddings of all
of them, on two ranks.

Jobs run one after the other as a user runs them, with 6 GiB for Spark's driver; what they left in FOLDER
(runs/scale/SCALE) stays there, so that further jobs can follow later. Memory is that of the whole tree of processes, a
page that several share counted once. Prints a table and, as the last line, one JSON object.
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
OWN = {  # settings of a job
    "one_rank": ["seed=1"],  # another model, beside that of two ranks
    "sharded": ["model.user_vectors=null", "model.item_vectors=null", "training.sharded=[user_id,item_id]"],
}
INTERVAL = 0.5  # seconds between two looks at the memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=0.001)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--jobs", default=DEFAULT)
    parser.add_argument("settings", nargs="*", metavar="key=value")
    known = parser.parse_args()
    work = known.work or Path(f"runs/scale/{known.scale:g}")
    found = {}
    for name in tqdm(known.jobs.split(","), desc="jobs", unit="job", file=sys.stderr):
        settings = [f"data.scale={known.scale}", *known.settings, *OWN.get(name, [])]
        found[name] = measure(command_of(name, work, settings))
    if {"one_rank", "train"} <= set(found):
        speeds = [found[name]["samples_per_second"] for name in ("train", "one_rank")]
        found["train"]["against_one_rank"] = speeds[0] / speeds[1]
    if "build" in found:
        found["build"] |= describe_files(work / "tables" / "samples")
    print(f"{'job':<10}{'seconds':>10}{'GiB':>8}")
    for name, figures in found.items():
        print(f"{name:<10}{figures['seconds_in_all']:>10.0f}{figures['peak_gib']:>8.2f}")
    print_figures(scale=known.scale, settings=known.settings, **found)


def command_of(job: str, work: Path, settings: Sequence[str]) -> list[str]:
    """The command of a job on a log, tables and vectors that all lie in `work`."""
    paths = [f"root={work}", f"data.path={work}/log"]
    paths += [f"model.{name}_vectors={work}/tables/{name}_vectors" for name in ("user", "item")]
    return [*JOBS[job], "--config", "conf/taobao_online.yaml", *paths, "track=false", *settings]


def measure(command: list[str]) -> dict:
    """The summary of a command, with the seconds from its start to its end and its peak memory in GiB."""
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
    """The bytes that a process and all below it hold."""
    total = 0
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            total += process.memory_full_info().pss
    except psutil.NoSuchProcess:  # it ended meanwhile: the next look sees the others
        pass
    return total


def describe_files(path: Path) -> dict:
    """How evenly the training rows lie in buckets, and how large the table's files are."""
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
