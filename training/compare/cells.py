"""Does the work of one process: chooses settings on validation rows, and fills cells of a comparison."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from training.column_names import LABEL, ROW_ORDER
from training.compare.baselines import SCORERS
from training.compare.plan import Cell, CompareConfig, WorkUnit, candidates, portable
from training.compare.study import Splits, Study
from training.config import Config
from training.data.columns import Columns
from training.data.delta_files import read_columns
from training.errors import UserError
from training.metrics import domain_auc

ChosenSettings = Mapping[str, list[str]]  # by stage: "shared", or a value of framework.specific


def choose(work: WorkUnit, plan: CompareConfig, chosen: ChosenSettings) -> dict[str, dict]:
    """Tries the candidates of the stages that are not in `chosen`, on validation rows only.

    Returns:
        By stage ("shared", or a value of framework.specific): "tried", the candidates with their mean-domain AUC on
        validation rows, and "chosen", the best candidate.

    Raises:
        UserError: theta^S cannot be trained with any candidate.
    """
    results: dict[str, dict] = {}
    study = None
    if "shared" not in chosen:
        study, results["shared"] = _choose_shared(work, candidates(plan, work, "shared"))
    shared = chosen["shared"] if "shared" in chosen else results["shared"]["chosen"]
    for stage in work.specific:
        if stage == "none" or stage in chosen:
            continue
        study = study or Study(work.load(*shared))
        settings = candidates(plan, work, stage)
        aucs = [study.adapt(work.load(*shared, *each, specific=stage), "val").val_auc for each in settings]
        best = max(range(len(aucs)), key=aucs.__getitem__)
        tried = [[candidate, auc] for candidate, auc in zip(settings, aucs, strict=True)]
        results[stage] = {"chosen": settings[best], "tried": tried}
    return results


def _choose_shared(work: WorkUnit, settings: list[list[str]]) -> tuple[Study, dict]:
    best: Study | None = None
    chosen: list[str] = []
    tried: list[tuple[list[str], float | str]] = []
    for candidate in settings:
        try:
            study = Study(work.load(*candidate))
        except UserError as error:  # a learning rate at which the loss is not finite
            tried.append((candidate, str(error)))
            continue
        tried.append((candidate, study.val_auc))
        if best is None or study.val_auc > best.val_auc:
            best, chosen = study, candidate
    if best is None:
        raise UserError(f"{work.data}, {work.model}+{work.shared}: no candidate could be trained: {tried[0][1]}")
    return best, {"chosen": chosen, "tried": tried}


def cells_of(work: WorkUnit, chosen: ChosenSettings) -> dict[str, Cell]:
    """Returns the cells of a work unit by framework.specific."""
    cells = {}
    for specific in work.specific:
        config = work.load(specific=specific)
        settings = work.portable(*chosen["shared"], *chosen.get(specific, []))
        cells[specific] = Cell(work.data, f"{work.model}+{config.framework.name}", work.seed, json.dumps(settings))
    return cells


def fill(work: WorkUnit, chosen: ChosenSettings, missing: list[str]) -> Iterator[dict]:
    """Yields the rows of the table of results for the `missing` values of framework.specific."""
    start = time.monotonic()
    config, cells = work.load(*chosen["shared"]), cells_of(work, chosen)
    study = Study(config)
    test = study.rows["test"]
    for specific in missing:
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
            "domains": domain_metrics(config, test, logits),
        }
        start = time.monotonic()


def baseline_cells(data: str, seed: int, settings: Sequence[str], root: Path) -> list[Cell]:
    """Returns the cells of the baselines on a data set and seed."""
    return [Cell(data, method, seed, json.dumps(portable(settings, root))) for method in SCORERS]


def fill_baselines(config: Config, cells: list[Cell]) -> Iterator[dict]:
    """Yields the rows of the table of results for the baselines, which need no model."""
    rows = Splits(config)
    frames = {split: _to_frame(rows[split]) for split in ("train", "test")}
    for cell in cells:
        start = time.monotonic()
        scores = SCORERS[cell.method](frames["train"], frames["test"])
        domains = domain_metrics(config, rows["test"], scores)
        if cell.method == "popularity":  # counts are no logits
            domains = [{**domain, "logloss": None} for domain in domains]
        seconds = time.monotonic() - start
        yield {**vars(cell), "seconds": seconds, "all_rows_auc": all_rows_auc(rows["test"], scores), "domains": domains}


def all_rows_auc(rows: Columns, scores: np.ndarray) -> float:
    """Computes the AUC over the rows of all domains at once."""
    return float(domain_auc(np.zeros(len(scores), np.int64), scores, rows[LABEL]).auc[0])


def domain_metrics(config: Config, rows: Columns, logits: np.ndarray) -> list[dict]:
    """Computes rows, AUC (None if undefined) and log loss of each domain, with the domain's key and training rows."""
    domains = read_columns(config.table("domains"), ["domain_id", "domain_key", "rows_train"])
    ids, keys, sizes = (column.tolist() for column in domains.values())
    key_of, size_of = dict(zip(ids, keys, strict=True)), dict(zip(ids, sizes, strict=True))
    scored = domain_auc(rows["domain_id"], logits, rows[LABEL])
    losses = np.logaddexp(0, logits) - logits * rows[LABEL]
    index = np.searchsorted(scored.domain_id, rows["domain_id"])
    mean_losses = np.bincount(index, weights=losses, minlength=len(scored.domain_id)) / scored.rows
    return [
        {
            "domain_key": key_of[domain_id],
            "rows_train": size_of[domain_id],
            "rows": count,
            "auc": None if np.isnan(auc) else auc,
            "logloss": logloss,
        }
        for domain_id, count, auc, logloss in zip(
            *(values.tolist() for values in (scored.domain_id, scored.rows, scored.auc, mean_losses)), strict=True
        )
    ]


def _to_frame(columns: Columns) -> pd.DataFrame:
    return pd.DataFrame({name: columns[name] for name in ROW_ORDER})
