"""Compares models with the best possible AUC on a log of Taobao-online's shape, by domain size.

    python -m benchmarks.scale_quality --scale 0.01 [--work FOLDER] [--conflicts 0,0.5] [key=value ...]

For each conflict: draws the log, builds, trains joint, alternate and DN (two at a time, one core each), learns theta^i
by DR for joint and DN, and tests all. Finished jobs are kept in FOLDER (runs/scale-quality), so an interrupted run
resumes. Prints a table of mean test AUC for each conflict and, as the last line, one JSON object.
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
STEPS = (  # one after another; the jobs of one line run side by side
    [("generate", "all")],
    [("build", "all")],
    [("one_rank", "joint_dr"), ("one_rank", "mamdr"), ("one_rank", "alternate")],
    *([(job, name)] for name in ("joint_dr", "mamdr") for job in ("dr", "evaluate")),
    [("evaluate", "alternate")],
)
SIZES = (0, 100, 1000, 10_000, np.inf)  # samples of a domain


def main() -> None:
    """Runs all steps for each conflict and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=0.001)
    parser.add_argument("--work", type=Path, default=Path("runs/scale-quality"))
    parser.add_argument("--conflicts", default="0,0.5")
    parser.add_argument("settings", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    tables = {}
    for conflict in arguments.conflicts.split(","):
        root = arguments.work / f"{arguments.scale:g}-{conflict}"
        run_steps(root, [f"data.scale={arguments.scale}", f"data.synthetic.conflict={conflict}", *arguments.settings])
        table = gaps(root / "tables")
        print(f"\nconflict {conflict}\n{table.round(4).to_string()}")
        tables[conflict] = table.to_dict("index")
    print_figures(scale=arguments.scale, settings=arguments.settings, conflicts=tables)


def run_steps(root: Path, settings: list[str]) -> None:
    """Runs the jobs that have not run in `root` yet."""
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
    """Returns mean test AUC, weighted by test rows: a row for each range of domain sizes, a column for each model.

    "best" is the AUC of the logits that labels were drawn from, over all samples of a domain.
    """
    columns_of = {
        "metrics_by_domain": ["domain_key", "model", "rows", "auc"],
        "domains": ["domain_key", "rows"],
        "truth": ["domain_key", "best_auc"],
    }
    metrics, domains, truth = (
        pd.DataFrame(read_columns(str(tables / name), columns)) for name, columns in columns_of.items()
    )
    auc = metrics.dropna().drop_duplicates(["domain_key", "model"]).pivot(index="domain_key", columns="model")
    table = auc["auc"][list(MODELS)].assign(weight=auc["rows"].max(axis=1)).reset_index()
    table = table.merge(domains).merge(truth.rename(columns={"best_auc": "best"})).dropna()
    sizes = pd.cut(table["rows"], SIZES, right=False)
    by_size = {
        f"{size.left:g} to {size.right:g}": domains_of_size
        for size, domains_of_size in table.groupby(sizes, observed=True)
    }
    columns = ["best", *MODELS]
    rows = {
        name: {"domains": len(group)} | {key: np.average(group[key], weights=group["weight"]) for key in columns}
        for name, group in {**by_size, "all": table}.items()
    }
    return pd.DataFrame(rows).T


if __name__ == "__main__":
    main()
