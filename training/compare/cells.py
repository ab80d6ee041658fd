"""The work of one process: choosing settings on validation rows, and filling the cells of a comparison."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from training.column_names import LABEL, ROW_ORDER
from training.compare.baselines import SCORERS
from training.compare.plan import Cell, CompareConfig, Work, candidates, portable
from training.compare.study import Splits, Study
from training.config import Config
from training.data.columns import Columns
from training.data.delta_files import read_columns
from training.errors import UserError
from training.metrics import domain_auc

Chosen = Mapping[str, list[str]]  # settings by part: "shared", and values of framework.specific


def choose(work: Work, plan: CompareConfig, chosen: Chosen) -> dict[str, dict]:
    """Tries the candidates of the parts that are not in `chosen`; test rows are not looked at.

    Returns:
        By part ("shared", or a value of framework.specific) the candidates that were tried, each with its AUC by
        domain on validation rows, and the best of them.

    Raises:
        UserError: theta^S cannot be trained with any candidate.
    """
    found, study = {}, None
    if "shared" not in chosen:
        study, found["shared"] = _choose_shared(work, candidates(plan, work, "shared"))
    shared = chosen["shared"] if "shared" in chosen else found["shared"]["chosen"]
    for part in work.specific:
        if part == "none" or part in chosen:
            continue
        study = study or Study(work.load(*shared))
        tried = [
            [own, study.adapt(work.load(*shared, *own, specific=part), "val").val_auc]
            for own in candidates(plan, work, part)
        ]
        found[part] = {"chosen": max(tried, key=lambda one: one[1])[0], "tried": tried}
    return found


def _choose_shared(work: Work, settings: list[list[str]]) -> tuple[Study, dict]:
    best, chosen, tried = None, [], []
    for own in settings:
        try:
            study = Study(work.load(*own))
        except UserError as error:  # a rate at which the loss is no longer finite
            tried.append([own, str(error)])
            continue
        tried.append([own, study.val_auc])
        if best is None or study.val_auc > best.val_auc:
            best, chosen = study, own
    if best is None:
        raise UserError(f"{work.data}, {work.model}+{work.shared}: no candidate could be trained: {tried[0][1]}")
    return best, {"chosen": chosen, "tried": tried}


def cells_of(work: Work, chosen: Chosen) -> dict[str, Cell]:
    """The cells of `work`, by framework.specific."""
    cells = {}
    for specific in work.specific:
        config = work.load(specific=specific)
        settings = work.portable(*chosen["shared"], *chosen.get(specific, []))
        cells[specific] = Cell(work.data, f"{work.model}+{config.framework.name}", work.seed, json.dumps(settings))
    return cells


def fill(work: Work, chosen: Chosen, wanted: list[str]) -> Iterator[dict]:
    """The rows of the table of results for the `wanted` values of framework.specific."""
    start = time.monotonic()
    config, cells = work.load(*chosen["shared"]), cells_of(work, chosen)
    study = Study(config)
    test = study.rows["test"]
    for specific in wanted:
        if specific == "none":
            val_auc, logits = study.val_auc, study.shared_logits("test")
        else:
            adaptation = study.adapt(work.load(*chosen["shared"], *chosen[specific], specific=specific))
            val_auc, logits = adaptation.val_auc, adaptation.logits
        yield {
            **vars(cells[specific]),
            "val_mean_domain_auc": val_auc,
            "samples_per_second": study.summary["samples_per_second"],
            "seconds": time.monotonic() - start,
            "all_rows_auc": all_rows_auc(test, logits),
            "domains": score(config, test, logits),
        }
        start = time.monotonic()


def baseline_cells(data: str, seed: int, settings: Sequence[str], root: Path) -> list[Cell]:
    return [Cell(data, method, seed, json.dumps(portable(settings, root))) for method in SCORERS]


def fill_baselines(config: Config, cells: list[Cell]) -> Iterator[dict]:
    """The rows of the simple scorers, which need no model."""
    rows = Splits(config)
    frames = {split: _frame(rows[split]) for split in ("train", "test")}
    for cell in cells:
        start = time.monotonic()
        scores = SCORERS[cell.method](frames["train"], frames["test"])
        domains = score(config, rows["test"], scores)
        if cell.method == "popularity":  # counts are no logits
            domains = [{**domain, "logloss": None} for domain in domains]
        seconds = time.monotonic() - start
        yield {**vars(cell), "seconds": seconds, "all_rows_auc": all_rows_auc(rows["test"], scores), "domains": domains}


def all_rows_auc(rows: Columns, scores: np.ndarray) -> float:
    """The AUC over the rows of all domains at once."""
    return float(domain_auc(np.zeros(len(scores), np.int64), scores, rows[LABEL]).auc[0])


def score(config: Config, rows: Columns, logits: np.ndarray) -> list[dict]:
    """By domain: rows, AUC (None where undefined) and log loss, and what the domain is."""
    domains = read_columns(config.table("domains"), ["domain_id", "domain_key", "rows_train"])
    known = {
        domain: (key, size) for domain, key, size in zip(*(column.tolist() for column in domains.values()), strict=True)
    }
    found = domain_auc(rows["domain_id"], logits, rows[LABEL])
    losses = np.logaddexp(0, logits) - logits * rows[LABEL]
    place = np.searchsorted(found.domain_id, rows["domain_id"])
    loss = np.bincount(place, weights=losses, minlength=len(found.domain_id)) / found.rows
    return [
        {
            "domain_key": known[domain][0],
            "rows_train": known[domain][1],
            "rows": count,
            "auc": None if np.isnan(auc) else auc,
            "logloss": mean_loss,
        }
        for domain, count, auc, mean_loss in zip(
            *(values.tolist() for values in (found.domain_id, found.rows, found.auc, loss)), strict=True
        )
    ]


def _frame(columns: Columns) -> pd.DataFrame:
    return pd.DataFrame({name: columns[name] for name in ROW_ORDER})
