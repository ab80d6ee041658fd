"""Shows which domains gain from theta^i: the change in AUC by size of the domain."""

import numpy as np

from training.compare.study import Study
from training.config import Config
from training.metrics import domain_auc
from training.report.svg_plots import COLOR, axes

BINS = 8


def gain(config: Config) -> tuple[dict, str]:
    """Measures how much theta^i adds to the AUC of theta^S, on average over domains of similar size."""
    study = Study(config)
    test = study.rows["test"]
    before, after = (
        domain_auc(test["domain_id"], logits, test["label"])
        for logits in (study.shared_logits("test"), study.adapt(config).logits)
    )
    domains, sizes = np.unique(study.rows["train"]["domain_id"], return_counts=True)
    defined = before.defined & np.isin(before.domain_id, domains)
    size = sizes[np.searchsorted(domains, before.domain_id[defined])]
    change = (after.auc - before.auc)[defined]
    bins = np.array_split(np.argsort(size, kind="stable"), BINS)
    middle = [float(np.median(size[members])) for members in bins]
    mean = [float(change[members].mean()) for members in bins]
    error = [float(change[members].std(ddof=1) / np.sqrt(len(members))) for members in bins]
    with axes(6, 3.2) as (axis, svg):
        axis.scatter(size, change, s=6, color="#bbbbbb")
        axis.errorbar(
            middle, mean, yerr=error, fmt="o-", color=COLOR, capsize=3, label="mean of an eighth of the domains"
        )
        axis.set_xscale("log")
        axis.set_ylim(-0.1, 0.1)
        axis.set_xlabel("training rows of the domain")
        axis.set_ylabel("gain in AUC")
        axis.legend()
    return {"training_rows": middle, "mean_gain": mean, "standard_error": error}, svg.getvalue()
