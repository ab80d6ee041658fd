"""How far domains' gradients agree, before and after training (section III-C: what InnerGrad should bring about)."""

from copy import deepcopy

import numpy as np
import torch
from torch import nn

from training.compare.study import Splits, Study
from training.config import Config
from training.data.columns import Columns
from training.data.frozen_vectors import load_vectors
from training.data.patch import Patch
from training.frameworks.inner_step import InnerOptimizer
from training.frameworks.shared.pcgrad import gram_matrix
from training.models import build_model
from training.parameters.shared import SharedParameters
from training.report.svg_plots import COLOR, OTHER_COLORS, axes

FRAMEWORKS = ("alternate", "dn", "pcgrad")
DOMAINS = 100  # the largest
MOST_ROWS = 4096  # of a domain


def gradients(config: Config) -> tuple[dict, str]:
    """The cosines of the gradients of each pair of domains: before training, and after it by each framework."""
    rows = Splits(config)
    untrained = build_model(config.model, rows.snapshot.schema, config.seed, load_vectors(config))
    found = {"before training": cosines(untrained, rows["train"])}
    for name in FRAMEWORKS:
        own = deepcopy(config)
        own.framework.shared = own.framework.name = name
        study = Study(own)
        found[f"after {name}"] = cosines(study.model, rows["train"])
    figures = {
        name: {"mean_cosine": float(pairs.mean()), "conflicting_pairs": float((pairs < 0).mean())}
        for name, pairs in found.items()
    }
    with axes(6, 3.4) as (own, svg):
        for (name, pairs), color in zip(found.items(), (COLOR, *OTHER_COLORS), strict=True):
            label = f"{name}: {figures[name]['conflicting_pairs']:.0%} of pairs conflict"
            own.hist(pairs, bins=50, range=(-1, 1), histtype="step", density=True, color=color, label=label)
        own.set_xlabel("cosine of two domains' gradients")
        own.set_ylabel("density")
        own.legend(fontsize=8)
    return figures, svg.getvalue()


def cosines(model: nn.Module, columns: Columns) -> np.ndarray:
    """The cosine of the gradients of each pair of the largest domains, on their training rows, without dropout.

    Returns:
        shape (pairs,); gradients are of each domain's mean loss, by all parameters.
    """
    theta = SharedParameters.of(model.eval())
    patch = Patch(columns, theta.features_of, theta.like.device, theta.like.dtype)
    largest = sorted(patch.domain_rows(), key=len, reverse=True)[:DOMAINS]
    inner = InnerOptimizer(model, lr=0.0)
    gram = gram_matrix([inner.gradients(theta, patch.batch(rows[:MOST_ROWS])) for rows in largest])
    length = gram.diagonal().sqrt()
    first, second = torch.triu_indices(len(gram), len(gram), offset=1)
    return (gram / torch.outer(length, length))[first, second].numpy()
