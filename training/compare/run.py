"""Runs a comparison: data, search, cells, report; what is done already is not done again."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread

from tqdm import tqdm

from training.compare import report, results, searches
from training.compare.cells import baseline_cells, cells_of, choose, fill, fill_baselines
from training.compare.plan import Cell, CompareConfig, Work, data_settings, filled, root_of, seeds_of, works
from training.config import load_config

BUILD = "spark-submit pipelines/build_domains.py --config"


def compare(plan: CompareConfig, command: str) -> dict:
    """Runs what is missing of a comparison, writes the report, and returns the summary. Raises UserError.

    Args:
        command: what the report says that it was made by.
    """
    root = Path(plan.root)
    (root / "search").mkdir(parents=True, exist_ok=True)
    table = root / "tables" / "comparison"
    if plan.published:
        searches.take_over(Path(plan.published), root)
        results.take_over(Path(plan.published), table)
    with ProcessPoolExecutor(
        plan.parallel, mp_context=get_context("spawn"), initializer=quiet, initargs=(root / "log.txt",)
    ) as pool:
        search_settings(plan, root, pool)
        cells = fill_cells(plan, root, table, pool)
    written = report.write(results.by_domain(table, cells), root, plan, command, results.origins(table, cells))
    if plan.publish:
        publish(Path(plan.published), root)
    return {"cells": len(cells), "table": str(table), **written}


def publish(folder: Path, root: Path) -> None:
    """Leaves all searches and cells of `root`, and its report, in a folder that can be kept in a repository."""
    folder.mkdir(parents=True, exist_ok=True)
    searches.publish(root, folder)
    results.publish(root / "tables" / "comparison", folder)
    shutil.copy(root / "report.md", folder / "README.md")


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
    if source.complete:
        run(shlex.split(filled(source.complete, plan, data, seed)))
    done.write_text(summary.splitlines()[-1])


def run(command: list[str]) -> str:
    """The standard output of a command; what it says on stderr goes to ours."""
    print(shlex.join(command), file=sys.stderr)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout


def search_settings(plan: CompareConfig, root: Path, pool: ProcessPoolExecutor) -> None:
    """Chooses settings on the validation rows of each data set's first seed, for what has none yet."""
    missing = []
    for work in works(plan):
        chosen = searches.chosen(plan, root, work)
        if work.seed == seeds_of(plan, work.data)[0] and chosen.keys() < searches.parts(work):
            build(plan, work.data, work.seed)
            missing.append((work, plan, chosen))
    for (work, *_), found in in_parallel(pool, "search", missing, _choose):
        searches.save(plan, root, work, found)


def fill_cells(plan: CompareConfig, root: Path, table: Path, pool: ProcessPoolExecutor) -> list[Cell]:
    """Runs the cells that are not in the table, and returns all of the plan."""
    done = results.finished(table)
    cells, missing, simple = [], [], []
    for data in plan.data:
        for seed in seeds_of(plan, data):
            settings = [plan.data[data].config, *data_settings(plan, data, seed)]
            own = baseline_cells(data, seed, settings, root_of(plan, data, seed))
            cells += own
            if not done.issuperset(own):
                build(plan, data, seed)
                simple.append((load_config(settings[0], settings[1:]), [cell for cell in own if cell not in done]))
    for work in works(plan):
        chosen = searches.chosen(plan, root, work)
        own = cells_of(work, chosen)
        cells += own.values()
        wanted = [specific for specific, cell in own.items() if cell not in done]
        if wanted:
            build(plan, work.data, work.seed)
            missing.append((work, chosen, wanted))
    for _, rows in in_parallel(pool, "baselines", simple, _baseline_rows):
        results.append(table, rows)
    for _, rows in in_parallel(pool, "cells", missing, _cell_rows):
        results.append(table, rows)
    return cells


def in_parallel(pool: ProcessPoolExecutor, name: str, items: list, function: Callable) -> Iterator[tuple]:
    """(item, function(item)) as they are done, with a progress bar."""
    waiting: dict[Future, object] = {pool.submit(function, item): item for item in items}
    for future in tqdm(as_completed(waiting), total=len(items), desc=name, unit="model", file=sys.stderr):
        yield waiting[future], future.result()


def _choose(item: tuple[Work, CompareConfig, dict]) -> dict[str, dict]:
    work, plan, chosen = item
    return choose(work, plan, chosen)


def _cell_rows(item: tuple[Work, dict, list[str]]) -> list[dict]:
    return list(fill(*item))


def _baseline_rows(item: tuple) -> list[dict]:
    return list(fill_baselines(*item))


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
