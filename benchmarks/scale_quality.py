"""How near models come to the best possible ones on a log of Taobao-online's shape, by the size of domains.

    python -m benchmarks.scale_quality --scale 0.01 [--work FOLDER] [--conflicts 0,0.5] [key=value ...]

For each conflict: draws the log, builds, trains joint, alternate and DN, two of them side by side on a core each, gives
joint and DN their theta^i by DR, and tests all. What is there in FOLDER (runs/scale-quality) is taken as finished, so a
run that was cut off goes on. Prints, for each conflict, a table of mean test AUC, and as the last line one JSON object.
"""

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.figures import print_figures
from benchmarks.scale import command_of
from training.data.delta_files import read_columns

MODELS = ("joint", "alternate", "dn", "joint_dr", "mamdr")
STEPS = (  # one after the other; what stands in one line, side by side
    [("generate", "all")],
    [("build", "all")],
    [("one_rank", "joint_dr"), ("one_rank", "mamdr"), ("one_rank", "alternate")],
    *([(job, name)] for name in ("joint_dr", "mamdr") for job in ("dr", "evaluate")),
    [("evaluate", "alternate")],
)
SIZES = (0, 100, 1000, 10_000, np.inf)  # samples of a domain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=0.001)
    parser.add_argument("--work", type=Path, default=Path("runs/scale-quality"))
    parser.add_argument("--conflicts", default="0,0.5")
    parser.add_argument("settings", nargs="*", metavar="key=value")
    known = parser.parse_args()
    found = {}
    for conflict in known.conflicts.split(","):
        root = known.work / f"{known.scale:g}-{conflict}"
        run_steps(root, [f"data.scale={known.scale}", f"data.synthetic.conflict={conflict}", *known.settings])
        table = gaps(root / "tables")
        print(f"\nconflict {conflict}\n{table.round(4).to_string()}")
        found[conflict] = table.to_dict("index")
    print_figures(scale=known.scale, settings=known.settings, conflicts=found)


def run_steps(root: Path, settings: list[str]) -> None:
    """Runs the jobs that have not run in `root`."""
    (root / "done").mkdir(parents=True, exist_ok=True)

    def run(step: tuple[str, str]) -> None:
        job, name = step
        done = root / "done" / f"{job}-{name}.json"
        if not done.exists():
            framework = [f"framework.name={name}"] if name in MODELS else []
            command = command_of(job, root, [*settings, *framework])
            done.write_text(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)

    for steps in tqdm(STEPS, desc=root.name, unit="step", file=sys.stderr):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(run, steps))


def gaps(tables: Path) -> pd.DataFrame:
    """Mean test AUC, weighted by test rows, of domains of like size, and of all: a row a size, a column a model.

    "best" is that of the logits that labels were drawn from, over all samples of a domain.
    """
    wanted = {
        "metrics_by_domain": ["domain_key", "model", "rows", "auc"],
        "domains": ["domain_key", "rows"],
        "truth": ["domain_key", "best_auc"],
    }
    metrics, domains, truth = (pd.DataFrame(read_columns(str(tables / name), one)) for name, one in wanted.items())
    auc = metrics.dropna().drop_duplicates(["domain_key", "model"]).pivot(index="domain_key", columns="model")
    table = auc["auc"][list(MODELS)].assign(weight=auc["rows"].max(axis=1)).reset_index()
    table = table.merge(domains).merge(truth.rename(columns={"best_auc": "best"})).dropna()
    sizes = pd.cut(table["rows"], SIZES, right=False)
    parts = {f"{size.left:g} to {size.right:g}": part for size, part in table.groupby(sizes, observed=True)}
    columns = ["best", *MODELS]
    rows = {
        name: {"domains": len(part)} | {key: np.average(part[key], weights=part["weight"]) for key in columns}
        for name, part in {**parts, "all": table}.items()
    }
    return pd.DataFrame(rows).T


if __name__ == "__main__":
    main()
