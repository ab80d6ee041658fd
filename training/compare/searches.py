"""Stores the results of searches: one file for each stage of a method on a data set, so that no search runs twice."""

import json
from pathlib import Path

from training.compare.plan import CompareConfig, WorkUnit, candidates, search_key, with_first_seed
from training.config.frameworks import framework_name
from training.files.atomic_write import atomic_write


def stages(work: WorkUnit) -> set[str]:
    """Returns "shared" and the values of framework.specific that learn something."""
    return {"shared", *work.specific} - {"none"}


def chosen_settings(plan: CompareConfig, root: Path, work: WorkUnit) -> dict[str, list[str]]:
    """Returns the settings of each stage whose search is finished or that has a single candidate.

    The other stages start from theta^S, so there are none of them without "shared".
    """
    chosen: dict[str, list[str]] = {}
    for stage in sorted(stages(work), key=lambda stage: stage != "shared"):
        only, *others = candidates(plan, work, stage)
        saved = _read(_path(root, work, stage))
        if not others:
            chosen[stage] = only
        elif saved.get("search") == search_key(plan, with_first_seed(plan, work), stage, chosen.get("shared", [])):
            chosen[stage] = saved["chosen"]
        if "shared" not in chosen:
            break
    return chosen


def save(plan: CompareConfig, root: Path, work: WorkUnit, results: dict[str, dict]) -> None:
    """Saves what `cells.choose` returned for the stages of a work unit."""
    shared = results["shared"]["chosen"] if "shared" in results else chosen_settings(plan, root, work)["shared"]
    for stage, result in results.items():
        key = search_key(plan, work, stage, [] if stage == "shared" else shared)
        _write(_path(root, work, stage), {"search": key, **result})


def export_searches(root: Path, folder: Path) -> None:
    """Writes all searches below `root` to one file in `folder`."""
    searches = {path.stem: _read(path) for path in sorted((root / "search").glob("*.json"))}
    _write(folder / "search.json", searches)


def import_searches(folder: Path, root: Path) -> None:
    """Copies the exported searches that `root` lacks."""
    for name, result in _read(folder / "search.json").items():
        path = root / "search" / f"{name}.json"
        if not path.exists():
            _write(path, result)


def _path(root: Path, work: WorkUnit, stage: str) -> Path:
    method = work.shared if stage == "shared" else framework_name(work.shared, stage)
    return root / "search" / f"{work.data}-{work.model}-{method}.json".replace(":", "-")


def _read(path: Path) -> dict:
    return json.loads(path.read_text()) if path.exists() else {}


def _write(path: Path, value: dict) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n")
