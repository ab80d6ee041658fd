"""What searches have found: one file for each part of a method on a data set, so that none is run twice."""

import json
from pathlib import Path

from training.compare.plan import CompareConfig, Work, budget, candidates, of_first_seed
from training.config.frameworks import framework_name
from training.files.atomic_write import atomic_write


def parts(work: Work) -> set[str]:
    """The name "shared", and the values of framework.specific that learn something."""
    return {"shared", *work.specific} - {"none"}


def chosen(plan: CompareConfig, root: Path, work: Work) -> dict[str, list[str]]:
    """The settings of each part that has been searched for, or that has but one candidate.

    Without those of "shared" there are none of the others, for these go out from them.
    """
    found: dict[str, list[str]] = {}
    for part in sorted(parts(work), key=lambda part: part != "shared"):
        only, *others = candidates(plan, work, part)
        known = _read(_path(root, work, part))
        if not others:
            found[part] = only
        elif known.get("search") == budget(plan, of_first_seed(plan, work), part, found.get("shared", [])):
            found[part] = known["chosen"]
        if "shared" not in found:
            break
    return found


def save(plan: CompareConfig, root: Path, work: Work, found: dict[str, dict]) -> None:
    """Keeps what `cells.choose` found for the parts of a work."""
    shared = found["shared"]["chosen"] if "shared" in found else chosen(plan, root, work)["shared"]
    for part, result in found.items():
        own = budget(plan, work, part, [] if part == "shared" else shared)
        _write(_path(root, work, part), {"search": own, **result})


def publish(root: Path, folder: Path) -> None:
    """All searches in one file."""
    every = {path.stem: _read(path) for path in sorted((root / "search").glob("*.json"))}
    _write(folder / "search.json", every)


def take_over(folder: Path, root: Path) -> None:
    """Adds published searches that `root` has not."""
    for name, result in _read(folder / "search.json").items():
        path = root / "search" / f"{name}.json"
        if not path.exists():
            _write(path, result)


def _path(root: Path, work: Work, part: str) -> Path:
    method = work.shared if part == "shared" else framework_name(work.shared, part)
    return root / "search" / f"{work.data}-{work.model}-{method}.json".replace(":", "-")


def _read(path: Path) -> dict:
    return json.loads(path.read_text()) if path.exists() else {}


def _write(path: Path, value: dict) -> None:
    with atomic_write(path) as aside:
        aside.write_text(json.dumps(value, indent=1) + "\n")
