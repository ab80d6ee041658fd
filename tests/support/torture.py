"""Kills jobs at random moments and checks that nothing is lost.

    python -m tests.support.torture --kills 50 [--seed 0]

First, a small log passes through build, train, dr_longtail, evaluate and score without a kill. Then each kill

1. restores the state before one of these jobs and starts the job,
2. sends SIGKILL to one of its processes at a random moment: Spark's driver, an executor, a Python worker, a rank or
   the launcher of ranks,
3. checks that the newest version of each table can be read,
4. runs the same command again, which must succeed,
5. compares the result with the run without a kill: tables must be equal, theta^S equal to 1e-6.

Prints a line for each kill and one JSON object as the last line. The exit code is 1 if anything was lost.
"""

import argparse
import json
import random
import shlex
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import torch
import yaml
from deltalake import DeltaTable
from safetensors.torch import load_file
from tqdm import tqdm

from tests.support.jobs import REPOSITORY, SPARK_SUBMIT, TWO_EXECUTORS
from tests.support.settings import DATA, DOMAIN_SIZES, FRAMEWORK
from tests.support.spark_flags import FIRST_COMPILER, environment_of_jobs

SPARK = ("driver", "executor", "worker")
RANKS = ("launcher", "rank")
STEPS = {  # job: its script, and which of its processes are killed
    "build": ("pipelines/build_domains.py", SPARK),
    "train": ("training/train.py", RANKS),
    "dr": ("pipelines/dr_longtail.py", SPARK),
    "evaluate": ("pipelines/evaluate.py", SPARK),
    "score": ("pipelines/score.py", SPARK),
}
VICTIMS = {  # process: a text in its command line
    "driver": "org.apache.spark.deploy.SparkSubmit",
    "executor": "CoarseGrainedExecutorBackend",
    "worker": "pyspark.daemon",
    "launcher": "horovodrun",
    "rank": "training/train.py",
}
RUN_COLUMNS = {"built_at", "evaluated_at", "scored_at", "versions", "table_version"}  # they differ between runs
TIMEOUT = 600  # seconds for a command


@dataclass(frozen=True)
class Kill:
    """Describes one kill and its outcome.

    Attributes:
        moment: seconds between the start of the command and the kill.
        exit_code: the exit code of the killed command.
        lost: what differs from a run without a kill; empty if nothing does.
    """

    step: str
    victim: str
    moment: float
    exit_code: int
    lost: str


RunStep = Callable[[str, str], float]  # (step, path of the config) -> expected seconds of the step's command


class Chain:
    """Runs and kills the jobs of `steps`, in order, on a small log.

    Attributes:
        root: the folder of tables and models.
        config: the path of the jobs' config.
        seconds: how long each step's command takes without a kill.
    """

    def __init__(self, folder: Path, steps: Sequence[str], master: str, run_step: RunStep | None = None) -> None:
        """Runs each step once, without a kill, and keeps the state before and after it.

        Args:
            folder: holds the log, the root and the kept states.
            master: the master of Spark's jobs.
            run_step: runs a step; by default as a command.
        """
        self.root, self._folder, self._master = folder / "root", folder, master
        self.config = folder / "config.yaml"
        write_log(folder / "log.csv")
        settings = {
            "root": str(self.root),
            "track": False,
            "data": {"source": "csv", "path": str(folder / "log.csv"), **DATA},
            "model": {"embedding_dim": 4, "hidden": [16, 8]},
            "framework": {**FRAMEWORK, "name": "mamdr", "stop_group": 5},
            "training": {"batch_size": 16, "epochs": 30, "patience": 30},
            "score": {"top_k": 3},
        }
        self.config.write_text(yaml.safe_dump(settings))
        self.root.mkdir()
        self.seconds: dict[str, float] = {}
        for step in tqdm(steps, desc="without kills", unit="job", file=sys.stderr):
            shutil.copytree(self.root, self._before(step))
            self.seconds[step] = (run_step or self._run_command)(step, str(self.config))
            shutil.copytree(self.root, self._after(step))

    @property
    def log(self) -> Path:
        """Returns the file with the output of the newest command."""
        return self._folder / "log.txt"

    def _before(self, step: str) -> Path:
        return self._folder / f"before-{step}"

    def _after(self, step: str) -> Path:
        return self._folder / f"after-{step}"

    def _run_command(self, step: str, _: str) -> float:
        start = time.monotonic()
        exit_code = self.start(step).wait(TIMEOUT)
        assert exit_code == 0, (step, self.log.read_text()[-3000:])
        return time.monotonic() - start

    def start(self, step: str) -> psutil.Popen:
        """Starts the command of a step."""
        output = self.log.open("w")
        script, processes = STEPS[step]
        starters = {SPARK: [SPARK_SUBMIT, "--master", self._master], RANKS: ["horovodrun", "-np", "1", sys.executable]}
        command = [*starters[processes], script, "--config", str(self.config)]
        return psutil.Popen(command, cwd=REPOSITORY, stdout=output, stderr=output)

    def kill(self, step: str, victim: str, moment: float, rng: random.Random) -> Kill:
        """Runs a step from the state before it, kills `victim` after `moment` seconds and runs the step again."""
        shutil.rmtree(self.root)
        shutil.copytree(self._before(step), self.root)
        process = self.start(step)
        with suppress(psutil.TimeoutExpired):
            process.wait(moment)
        processes = process_tree(process)
        kill_one(processes, VICTIMS[victim], rng)
        exit_code = wait_for_all(process, processes)
        lost = find_unreadable_table(self.root / "tables") or self._resume(step)
        return Kill(step, victim, round(moment, 2), exit_code, lost)

    def _resume(self, step: str) -> str:
        """Runs a killed step again; returns what went wrong, or an empty string."""
        exit_code = self.start(step).wait(TIMEOUT)
        if exit_code:
            return f"the second run ended with exit code {exit_code}: {self.log.read_text()[-2000:]}"
        return self._find_differences(step)

    def _find_differences(self, step: str) -> str:
        """Returns which tables and models differ from those of the run without a kill."""
        tables, expected_tables = (count_rows(root / "tables") for root in (self.root, self._after(step)))
        names = [name for name in expected_tables if tables.get(name) != expected_tables[name]]
        models, expected_models = (
            sorted((root / "models").glob("*/theta/*.safetensors")) for root in (self.root, self._after(step))
        )
        if [path.parts[-3:] for path in models] != [path.parts[-3:] for path in expected_models]:
            names.append("the models")
        pairs = zip(models, expected_models, strict=False)
        names += [path.parts[-3] for path, expected_path in pairs if not are_equal(path, expected_path)]
        return f"differs from the run without a kill: {', '.join(names)}" if names else ""


def write_log(path: Path) -> None:
    """Writes a CSV log of 12 domains of 300 to 6 rows; two are head domains."""
    rng = random.Random(0)
    domains = [domain for domain, size in enumerate(DOMAIN_SIZES) for _ in range(size)]
    rows = [(rng.randrange(40), rng.randrange(25), domain) for domain in domains]
    lines = [f"u{user},i{item},d{domain},{int((user + item + domain) % 5 < 2)}" for user, item, domain in rows]
    path.write_text("\n".join(["user,item,domain,label", *lines, ""]))


def kill_one(processes: list[psutil.Process], text: str, rng: random.Random) -> None:
    """Kills a random process with `text` in its command line; without any, the first of `processes`."""
    matching = [process for process in processes if text in shlex.join(command_line(process))]
    for victim in [rng.choice(matching)] if matching else processes[:1]:
        with suppress(psutil.NoSuchProcess):
            victim.kill()


def wait_for_all(command: psutil.Popen, processes: list[psutil.Process]) -> int:
    """Waits for a command and the processes it started; returns the command's exit code."""
    exit_code = command.wait(TIMEOUT)
    _, orphans = psutil.wait_procs(processes, timeout=30)
    for process in orphans:  # as a user would end them
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(orphans)
    return exit_code


def process_tree(command: psutil.Popen) -> list[psutil.Process]:
    """Returns the process of a command, then all it has started; nothing if it has ended."""
    try:
        process = psutil.Process(command.pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def command_line(process: psutil.Process) -> list[str]:
    """Returns the command line of a process; nothing if it has ended."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def find_unreadable_table(tables: Path) -> str:
    """Returns which table cannot be read at its newest version, and why; an empty string if all can."""
    for log in sorted(tables.glob("*/_delta_log")):
        if not list(log.glob("*.json")):
            continue  # without a commit there is no table yet
        try:
            read_rows(log.parent)
        except Exception as error:
            return f"table {log.parent.name} cannot be read: {error}"
    return ""


def count_rows(tables: Path) -> dict[str, Counter]:
    """Returns how often each row occurs, by table; 1 for tables where a second run may append the same row again."""
    counts_by_table = {}
    for log in sorted(tables.glob("*/_delta_log")):
        rows, has_run_columns = read_rows(log.parent)
        counts_by_table[log.parent.name] = Counter(set(rows)) if has_run_columns else Counter(rows)
    return counts_by_table


def read_rows(table: Path) -> tuple[list[str], bool]:
    """Reads a table's rows, each with the folder of its partition, and drops RUN_COLUMNS.

    Returns:
        The rows as text, and whether the table has any of RUN_COLUMNS.
    """
    rows, has_run_columns = [], False
    for uri in DeltaTable(str(table)).file_uris():
        data = pq.ParquetFile(uri).read()
        has_run_columns = has_run_columns or bool(RUN_COLUMNS & set(data.column_names))
        columns = [name for name in data.column_names if name not in RUN_COLUMNS]
        rows += [f"{Path(uri).parent.relative_to(table)} {row}" for row in data.select(columns).to_pylist()]
    return rows, has_run_columns


def are_equal(path: Path, other_path: Path) -> bool:
    """Compares the tensors of two files to 1e-6."""
    tensors, others = load_file(path), load_file(other_path)
    return tensors.keys() == others.keys() and all(
        torch.allclose(value, others[name], rtol=0, atol=1e-6) for name, value in tensors.items()
    )


def torture(
    folder: Path,
    kills: int,
    seed: int,
    steps: Sequence[str] = tuple(STEPS),
    master: str = TWO_EXECUTORS,
    run_step: RunStep | None = None,
) -> list[Kill]:
    """Kills the jobs of `steps` in turn, `kills` times in all.

    Args:
        folder: holds the log and all that the jobs write.
        seed: decides victims and moments.
        steps: the first of STEPS.
        run_step: runs a step without a kill; by default as a command.
    """
    chain, rng, results = Chain(folder, steps, master, run_step), random.Random(seed), []
    for number in tqdm(range(kills), desc="kills", unit="kill", file=sys.stderr):
        step = steps[number % len(steps)]
        victim = rng.choice(STEPS[step][1])
        kill = chain.kill(step, victim, rng.uniform(0.2, 1) * chain.seconds[step], rng)
        line = f"{kill.step}: {kill.victim} killed after {kill.moment} s, exit code {kill.exit_code}"
        tqdm.write(f"{line}: {kill.lost or 'nothing lost'}", file=sys.stderr)
        results.append(kill)
    return results


def main() -> None:
    """Parses the command line, kills, and prints the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="how many kills in all (default: 50)")
    parser.add_argument("--seed", type=int, default=0, help="decides victims and moments (default: 0)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, environment_of_jobs(FIRST_COMPILER):
        kills = torture(Path(folder), arguments.kills, arguments.seed)
    lost = [asdict(kill) for kill in kills if kill.lost]
    by_step = Counter(kill.step for kill in kills)
    print(json.dumps({"kills": len(kills), "by_step": by_step, "lost": lost}))
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
