"""Shows how many helper domains DR needs: AUC by k (figure 8 of the paper)."""

from training.compare.study import Study
from training.config import Config
from training.report.svg_plots import COLOR, axes

COUNTS = range(1, 10)


def helpers(config: Config) -> tuple[dict, str]:
    """Measures the mean-domain AUC on test rows for each k; k = 0 is theta^S alone."""
    study = Study(config)
    auc_of = {0: study.mean_domain_auc(study.shared_logits("test"))}
    for count in COUNTS:
        config.framework.helpers = count
        auc_of[count] = study.mean_domain_auc(study.adapt(config).logits)
    with axes(6, 3.2) as (axis, svg):
        axis.plot(COUNTS, [auc_of[count] for count in COUNTS], "o-", color=COLOR, label=config.framework.name)
        axis.axhline(auc_of[0], color="#888888", linestyle="--", label=config.framework.shared)
        axis.set_xlabel("k, helper domains")
        axis.set_ylabel("mean-domain AUC")
        axis.legend()
    return {"mean_domain_auc": auc_of}, svg.getvalue()
