"""How many helper domains DR needs: AUC by k (figure 8)."""

from training.compare.study import Study
from training.config import Config
from training.report.svg_plots import COLOR, axes

COUNTS = range(1, 10)


def helpers(config: Config) -> tuple[dict, str]:
    """Mean-domain AUC on test rows of theta^S + theta^i by k, and of theta^S alone (k = 0)."""
    study = Study(config)
    found = {0: study.mean_domain_auc(study.shared_logits("test"))}
    for count in COUNTS:
        config.framework.helpers = count
        found[count] = study.mean_domain_auc(study.adapt(config).logits)
    with axes(6, 3.2) as (own, svg):
        own.plot(COUNTS, [found[count] for count in COUNTS], "o-", color=COLOR, label=config.framework.name)
        own.axhline(found[0], color="#888888", linestyle="--", label=config.framework.shared)
        own.set_xlabel("k, helper domains")
        own.set_ylabel("mean-domain AUC")
        own.legend()
    return {"mean_domain_auc": found}, svg.getvalue()
