"""Kills the jobs at random moments and looks whether anything is lost.

    python -m tests.support.torture --kills 50 [--seed 0]

A small log goes through build, train, dr_longtail, evaluate and score, once undisturbed. Each kill then starts one of
these jobs anew from the state before it and sends SIGKILL to one of its processes at a random moment: to Spark's
driver, an executor or a Python worker, to a rank or to the launcher. After it, tables must be readable at their newest
version, the same command must end well, and tables and model must be those of the undisturbed run: tables to the bit,
theta^S to 1e-6. Prints a line a kill, and as the last line one JSON object; the exit code is 1 if anything was lost.
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

from tests.support.jobs import CLUSTER, REPOSITORY, SHORT, SUBMIT, environment_of_jobs
from tests.support.settings import DATA, FRAMEWORK, SIZES

SPARK = ("driver", "executor", "worker")
RANKS = ("launcher", "rank")
STEPS = {  # a job: its script, and which of its processes are killed
    "build": ("pipelines/build_domains.py", SPARK),
    "train": ("training/train.py", RANKS),
    "dr": ("pipelines/dr_longtail.py", SPARK),
    "evaluate": ("pipelines/evaluate.py", SPARK),
    "score": ("pipelines/score.py", SPARK),
}
VICTIMS = {  # what the command line of a process has in it
    "driver": "org.apache.spark.deploy.SparkSubmit",
    "executor": "CoarseGrainedExecutorBackend",
    "worker": "pyspark.daemon",
    "launcher": "horovodrun",
    "rank": "training/train.py",
}
OF_A_RUN = {"built_at", "evaluated_at", "scored_at", "versions", "table_version"}  # columns that differ between runs
PATIENCE = 600  # seconds that a command may take


@dataclass(frozen=True)
class Kill:
    """What happened. Attributes: moment: seconds after the start. exit_code: of the command that was hit."""

    step: str
    victim: str
    moment: float
    exit_code: int
    lost: str  # nothing, or what is not as it should be


Undisturbed = Callable[[str, str], float]  # does a job of a config, and says what seconds its command takes


class Chain:
    """Some of the jobs on a small log, whose tables and models lie in `folder`; Spark's on this `master`."""

    def __init__(self, folder: Path, steps: Sequence[str], master: str, undisturbed: Undisturbed | None = None) -> None:
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
        for step in tqdm(steps, desc="undisturbed", unit="job", file=sys.stderr):
            shutil.copytree(self.root, self._before(step))
            self.seconds[step] = (undisturbed or self._by_command)(step, str(self.config))
            shutil.copytree(self.root, self._after(step))

    @property
    def log(self) -> Path:
        return self._folder / "log.txt"

    def _before(self, step: str) -> Path:
        return self._folder / f"before-{step}"

    def _after(self, step: str) -> Path:
        return self._folder / f"after-{step}"

    def _by_command(self, step: str, _: str) -> float:
        start = time.monotonic()
        code = self.start(step).wait(PATIENCE)
        assert code == 0, (step, self.log.read_text()[-3000:])
        return time.monotonic() - start

    def start(self, step: str) -> psutil.Popen:
        output = self.log.open("w")
        script, processes = STEPS[step]
        starters = {SPARK: [SUBMIT, "--master", self._master], RANKS: ["horovodrun", "-np", "1", sys.executable]}
        command = [*starters[processes], script, "--config", str(self.config)]
        return psutil.Popen(command, cwd=REPOSITORY, stdout=output, stderr=output)

    def kill(self, step: str, victim: str, moment: float, rng: random.Random) -> Kill:
        """Runs a step from the state before it, kills the victim at that moment, and runs the step again."""
        shutil.rmtree(self.root)
        shutil.copytree(self._before(step), self.root)
        process = self.start(step)
        with suppress(psutil.TimeoutExpired):
            process.wait(moment)
        tree = family(process)
        hit(tree, VICTIMS[victim], rng)
        code = end(process, tree)
        lost = unreadable(self.root / "tables")
        if not lost:
            again = self.start(step).wait(PATIENCE)
            lost = (
                f"the second run ended with {again}: {self.log.read_text()[-2000:]}" if again else self._differs(step)
            )
        return Kill(step, victim, round(moment, 2), code, lost)

    def _differs(self, step: str) -> str:
        """What is not as an undisturbed run leaves it."""
        tables, expected = contents(self.root / "tables"), contents(self._after(step) / "tables")
        names = [name for name in expected if tables.get(name) != expected[name]]
        models, wanted = (
            sorted((root / "models").glob("*/theta/*.safetensors")) for root in (self.root, self._after(step))
        )
        if [path.parts[-3:] for path in models] != [path.parts[-3:] for path in wanted]:
            names.append("the models")
        names += [path.parts[-3] for path, other in zip(models, wanted, strict=False) if not equal(path, other)]
        return f"other than undisturbed: {', '.join(names)}" if names else ""


def write_log(path: Path) -> None:
    """12 domains of 300 to 6 rows, two of them heads."""
    rng = random.Random(0)
    rows = [(rng.randrange(40), rng.randrange(25), domain) for domain, size in enumerate(SIZES) for _ in range(size)]
    lines = [f"u{user},i{item},d{domain},{int((user + item + domain) % 5 < 2)}" for user, item, domain in rows]
    path.write_text("\n".join(["user,item,domain,label", *lines, ""]))


def hit(tree: list[psutil.Process], name: str, rng: random.Random) -> None:
    """Kills one of the processes that are called `name`; where there is none yet, or no more, the first of all."""
    named = [one for one in tree if name in shlex.join(command_line(one))]
    for victim in [rng.choice(named)] if named else tree[:1]:
        with suppress(psutil.NoSuchProcess):
            victim.kill()


def end(process: psutil.Popen, tree: list[psutil.Process]) -> int:
    """Waits until the command and all that it started have ended, and returns its exit code."""
    code = process.wait(PATIENCE)
    _, left = psutil.wait_procs(tree, timeout=30)
    for one in left:  # orphans, as a user would find and end them
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(left)
    return code


def family(process: psutil.Popen) -> list[psutil.Process]:
    try:
        first = psutil.Process(process.pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def unreadable(tables: Path) -> str:
    """Which table cannot be read whole at its newest version; nothing if each can."""
    for path in sorted(tables.glob("*/_delta_log")):
        if not list(path.glob("*.json")):
            continue  # no commit: there is no table yet
        try:
            rows_of(path.parent)
        except Exception as error:
            return f"table {path.parent.name} cannot be read: {error}"
    return ""


def contents(tables: Path) -> dict[str, Counter]:
    """The rows of each table, without what differs between runs; of rows that were added again, one."""
    found = {}
    for path in sorted(tables.glob("*/_delta_log")):
        rows, stamped = rows_of(path.parent)
        counts = Counter(rows)
        found[path.parent.name] = Counter(dict.fromkeys(counts, 1)) if stamped else counts
    return found


def rows_of(path: Path) -> tuple[list[str], bool]:
    """The rows of a table, with the folders of their partitions; and whether it has columns of a run, left out here."""
    rows, stamped = [], False
    for uri in DeltaTable(str(path)).file_uris():
        file = pq.ParquetFile(uri).read()
        stamped = stamped or bool(OF_A_RUN & set(file.column_names))
        kept = file.select([name for name in file.column_names if name not in OF_A_RUN])
        rows += [f"{Path(uri).parent.relative_to(path)} {row}" for row in kept.to_pylist()]
    return rows, stamped


def equal(path: Path, other: Path) -> bool:
    tensors, others = load_file(path), load_file(other)
    return tensors.keys() == others.keys() and all(
        torch.allclose(value, others[name], rtol=0, atol=1e-6) for name, value in tensors.items()
    )


def torture(
    folder: Path,
    kills: int,
    seed: int,
    steps: Sequence[str] = tuple(STEPS),
    master: str = CLUSTER,
    undisturbed: Undisturbed | None = None,
) -> list[Kill]:
    """So many kills of the first jobs, on a log in `folder`; undisturbed by their commands, unless told otherwise."""
    chain, rng, found = Chain(folder, steps, master, undisturbed), random.Random(seed), []
    for number in tqdm(range(kills), desc="kills", unit="kill", file=sys.stderr):
        step = steps[number % len(steps)]
        victim = rng.choice(STEPS[step][1])
        kill = chain.kill(step, victim, rng.uniform(0.2, 1) * chain.seconds[step], rng)
        told = f"{kill.step}: {kill.victim} killed after {kill.moment} s, exit code {kill.exit_code}"
        tqdm.write(f"{told}: {kill.lost or 'nothing lost'}", file=sys.stderr)
        found.append(kill)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    known = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, environment_of_jobs(SHORT):
        kills = torture(Path(folder), known.kills, known.seed)
    lost = [asdict(kill) for kill in kills if kill.lost]
    by_step = Counter(kill.step for kill in kills)
    print(json.dumps({"kills": len(kills), "by_step": by_step, "lost": lost}))
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
