"""Shows how the inner and outer learning rates of DN interact: AUC by alpha and beta (figure 9 of the paper)."""

import numpy as np

from training.compare.study import Study
from training.config import Config
from training.report.svg_plots import axes

INNER = (0.0003, 0.001, 0.003)
OUTER = (0.1, 0.3, 0.5, 0.8, 1.0)


def rates(config: Config) -> tuple[dict, str]:
    """Measures the mean-domain AUC of theta^S on test rows by alpha (rows) and beta (columns)."""
    auc = np.zeros((len(INNER), len(OUTER)))
    for row, inner in enumerate(INNER):
        for column, outer in enumerate(OUTER):
            config.framework.inner_lr, config.framework.outer_lr = inner, outer
            study = Study(config)
            auc[row, column] = study.mean_domain_auc(study.shared_logits("test"))
    with axes(6, 3) as (axis, svg):
        axis.grid(visible=False)
        axis.imshow(auc, cmap="Blues", aspect="auto")
        axis.set_xticks(range(len(OUTER)), [str(rate) for rate in OUTER])
        axis.set_yticks(range(len(INNER)), [str(rate) for rate in INNER])
        axis.set_xlabel("beta, outer rate")
        axis.set_ylabel("alpha, inner rate")
        middle = (auc.min() + auc.max()) / 2
        for (row, column), value in np.ndenumerate(auc):
            axis.text(
                column, row, f"{value:.4f}", ha="center", va="center", color="white" if value > middle else "black"
            )
    return {"inner_lr": INNER, "outer_lr": OUTER, "mean_domain_auc": auc.tolist()}, svg.getvalue()
