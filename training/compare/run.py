"""Runs a comparison: data, search, cells, report; what is done already is not done again."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread

from tqdm import tqdm

from training.compare import report, results
from training.compare.cells import Cell, baseline_cells, cells_of, choose, fill, fill_baselines
from training.compare.plan import CompareConfig, Work, budget, data_settings, filled, root_of, works
from training.config import load_config

BUILD = "spark-submit pipelines/build_domains.py --config"


def compare(plan: CompareConfig) -> dict:
    """Runs what is missing of a comparison, writes the report, and returns the summary. Raises UserError."""
    root = Path(plan.root)
    (root / "search").mkdir(parents=True, exist_ok=True)
    for data in plan.data:
        for seed in plan.seeds:
            build(plan, data, seed)
    table = root / "tables" / "comparison"
    with ProcessPoolExecutor(
        plan.parallel, mp_context=get_context("spawn"), initializer=quiet, initargs=(root / "log.txt",)
    ) as pool:
        search_settings(plan, root, pool)
        cells = fill_cells(plan, root, table, pool)
    rows = results.by_domain(table, cells)
    written = report.write(rows, root, plan)
    return {"cells": len(cells), "table": str(table), **written}


def build(plan: CompareConfig, data: str, seed: int) -> None:
    """Makes the tables of a data set and seed by the jobs of the pipeline, unless they are there."""
    folder = root_of(plan, data, seed)
    done = folder / "built.json"
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    source = plan.data[data]
    if source.prepare:
        run(shlex.split(filled(source.prepare, plan, data, seed)))
    summary = run([*BUILD.split(), source.config, *data_settings(plan, data, seed)])
    done.write_text(summary.splitlines()[-1])


def run(command: list[str]) -> str:
    """The standard output of a command; what it says on stderr goes to ours."""
    print(shlex.join(command), file=sys.stderr)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout


def search_settings(plan: CompareConfig, root: Path, pool: ProcessPoolExecutor) -> None:
    """Chooses each method's settings on the first seed's validation rows, for those that have none yet."""
    first = [work for work in works(plan) if work.seed == plan.seeds[0]]
    missing = [work for work in first if not _is_chosen(plan, root, work)]
    for work, chosen in in_parallel(pool, "search", missing, partial(choose, plan=plan)):
        path = search_path(root, work)
        aside = path.with_suffix(".aside")
        aside.write_text(json.dumps({"search": budget(plan, work), **chosen}, indent=1))
        aside.rename(path)


def fill_cells(plan: CompareConfig, root: Path, table: Path, pool: ProcessPoolExecutor) -> list[Cell]:
    """Runs the cells that are not in the table, and returns all of the plan."""
    done = results.finished(table)
    cells, missing, simple = [], [], []
    for data in plan.data:
        for seed in plan.seeds:
            settings = [plan.data[data].config, *data_settings(plan, data, seed)]
            own = baseline_cells(data, seed, settings)
            cells += own
            simple.append((load_config(settings[0], settings[1:]), [cell for cell in own if cell not in done]))
    for work in works(plan):
        chosen = json.loads(search_path(root, work).read_text())["chosen"]
        own = cells_of(work, chosen)
        cells += own.values()
        wanted = [specific for specific, cell in own.items() if cell not in done]
        if wanted:
            missing.append((work, chosen, wanted))
    for _, rows in in_parallel(pool, "baselines", [one for one in simple if one[1]], _baseline_rows):
        results.append(table, rows)
    for _, rows in in_parallel(pool, "cells", missing, _cell_rows):
        results.append(table, rows)
    return cells


def in_parallel(pool: ProcessPoolExecutor, name: str, items: list, function: Callable) -> Iterator[tuple]:
    """(item, function(item)) as they are done, with a progress bar."""
    waiting: dict[Future, object] = {pool.submit(function, item): item for item in items}
    for future in tqdm(as_completed(waiting), total=len(items), desc=name, unit="model", file=sys.stderr):
        yield waiting[future], future.result()


def _cell_rows(item: tuple[Work, dict, list[str]]) -> list[dict]:
    return list(fill(*item))


def _baseline_rows(item: tuple) -> list[dict]:
    return list(fill_baselines(*item))


def search_path(root: Path, work: Work) -> Path:
    model = work.model.replace(":", "-")
    return root / "search" / f"{work.data}-{model}-{work.shared}.json"


def _is_chosen(plan: CompareConfig, root: Path, work: Work) -> bool:
    path = search_path(root, work)
    return path.exists() and json.loads(path.read_text())["search"] == budget(plan, work)


def quiet(log: Path) -> None:
    """In a process of the pool: one core, what trainers report goes to a file, and it ends with the main process."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with open(log, "a") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Else a process would train on after a kill, beside the one that takes up its work."""
    parent_process().join()
    os._exit(1)
