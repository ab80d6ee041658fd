"""Runs a comparison: data, searches, cells, report. Whatever is finished already is not run again."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import TypeVar

from training.compare import report, results, searches
from training.compare.cells import baseline_cells, cells_of, choose, fill, fill_baselines
from training.compare.plan import (
    Cell,
    CompareConfig,
    WorkUnit,
    data_settings,
    fill_placeholders,
    root_of,
    seeds_of,
    work_units,
)
from training.config import Config, load_config
from training.progress import with_progress

Item = TypeVar("Item")
Result = TypeVar("Result")

BUILD = "spark-submit pipelines/build_domains.py --config"


def compare(plan: CompareConfig, command: str) -> dict:
    """Runs what is missing of a comparison, writes the report, and returns the summary.

    Args:
        command: the command that the report names as its origin.

    Raises:
        UserError: a method cannot be trained with any candidate of its settings.
    """
    root = Path(plan.root)
    (root / "search").mkdir(parents=True, exist_ok=True)
    table = root / "tables" / "comparison"
    published = Path(plan.published) if plan.published else None
    if published:
        searches.import_searches(published, root)
        results.import_cells(published, table)
    with ProcessPoolExecutor(
        plan.parallel, mp_context=get_context("spawn"), initializer=start_process, initargs=(root / "log.txt",)
    ) as pool:
        search_settings(plan, root, pool)
        cells = fill_cells(plan, root, table, pool)
    written = report.write(results.by_domain(table, cells), root, plan, command, results.origins(table, cells))
    if published and plan.publish:
        publish(published, root)
    return {"cells": len(cells), "table": str(table), **written}


def publish(folder: Path, root: Path) -> None:
    """Copies all searches and cells below `root`, and its report, to a folder that fits in a repository."""
    folder.mkdir(parents=True, exist_ok=True)
    searches.export_searches(root, folder)
    results.export_cells(root / "tables" / "comparison", folder)
    shutil.copy(root / "report.md", folder / "README.md")


def build(plan: CompareConfig, data: str, seed: int) -> None:
    """Builds the tables of a data set and seed with the jobs of the pipeline, unless they are built."""
    folder = root_of(plan, data, seed)
    done = folder / "built.json"
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    source = plan.data[data]
    if source.prepare:
        run_command(shlex.split(fill_placeholders(source.prepare, plan, data, seed)))
    summary = run_command([*BUILD.split(), source.config, *data_settings(plan, data, seed)])
    if source.complete:
        run_command(shlex.split(fill_placeholders(source.complete, plan, data, seed)))
    done.write_text(summary.splitlines()[-1])


def run_command(command: list[str]) -> str:
    """Runs a command and returns its standard output; its stderr is shown. Exits with its code if it fails."""
    print(shlex.join(command), file=sys.stderr)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout


def search_settings(plan: CompareConfig, root: Path, pool: ProcessPoolExecutor) -> None:
    """Runs the missing searches, each on the validation rows of its data set's first seed."""
    missing = []
    for work in work_units(plan):
        chosen = searches.chosen_settings(plan, root, work)
        if work.seed == seeds_of(plan, work.data)[0] and chosen.keys() < searches.stages(work):
            build(plan, work.data, work.seed)
            missing.append((work, plan, chosen))
    for (work, *_), chosen_by_stage in in_parallel(pool, "searches", missing, _choose):
        searches.save(plan, root, work, chosen_by_stage)


def fill_cells(plan: CompareConfig, root: Path, table: Path, pool: ProcessPoolExecutor) -> list[Cell]:
    """Runs the cells that the table lacks, and returns all cells of the plan."""
    finished = results.finished_cells(table)
    cells: list[Cell] = []
    missing_baselines, missing_models = [], []
    for data in plan.data:
        for seed in seeds_of(plan, data):
            settings = [plan.data[data].config, *data_settings(plan, data, seed)]
            baselines = baseline_cells(data, seed, settings, root_of(plan, data, seed))
            cells += baselines
            if not finished.issuperset(baselines):
                build(plan, data, seed)
                missing_cells = [cell for cell in baselines if cell not in finished]
                missing_baselines.append((load_config(settings[0], settings[1:]), missing_cells))
    for work in work_units(plan):
        chosen = searches.chosen_settings(plan, root, work)
        cell_by_specific = cells_of(work, chosen)
        cells += cell_by_specific.values()
        missing = [specific for specific, cell in cell_by_specific.items() if cell not in finished]
        if missing:
            build(plan, work.data, work.seed)
            missing_models.append((work, chosen, missing))
    for _, rows in in_parallel(pool, "baselines", missing_baselines, _fill_baselines):
        results.append(table, rows)
    for _, rows in in_parallel(pool, "cells", missing_models, _fill):
        results.append(table, rows)
    return cells


def in_parallel(
    pool: ProcessPoolExecutor, description: str, items: Sequence[Item], function: Callable[[Item], Result]
) -> Iterator[tuple[Item, Result]]:
    """Yields (item, function(item)) as they finish, and shows the progress."""
    item_of: dict[Future[Result], Item] = {pool.submit(function, item): item for item in items}
    for future in with_progress(as_completed(item_of), description, unit="models", total=len(items)):
        yield item_of[future], future.result()


def _choose(arguments: tuple[WorkUnit, CompareConfig, dict[str, list[str]]]) -> dict[str, dict]:
    return choose(*arguments)


def _fill(arguments: tuple[WorkUnit, dict[str, list[str]], list[str]]) -> list[dict]:
    return list(fill(*arguments))


def _fill_baselines(arguments: tuple[Config, list[Cell]]) -> list[dict]:
    return list(fill_baselines(*arguments))


def start_process(log: Path) -> None:
    """Prepares a process of the pool: one core, output to a log file, and an end together with the main process."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with open(log, "a") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when the main one is gone, so that it does not compete with the next run for the same work."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
