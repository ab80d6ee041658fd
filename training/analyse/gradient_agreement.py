"""Shows how well gradients of domains agree before and after training; InnerGrad should improve it (section III-C)."""

from copy import deepcopy

import numpy as np
import torch
from torch import nn

from training.compare.study import Splits, Study
from training.config import Config
from training.data.columns import Columns
from training.data.frozen_vectors import load_vectors
from training.data.patch import Patch
from training.frameworks.common.inner_step import InnerOptimizer
from training.frameworks.shared.pcgrad import gram_matrix
from training.models import build_model
from training.parameters.shared import SharedParameters
from training.report.svg_plots import COLOR, OTHER_COLORS, axes

FRAMEWORKS = ("alternate", "dn", "pcgrad")
LARGEST_DOMAINS = 100
ROWS_PER_DOMAIN = 4096


def gradients(config: Config) -> tuple[dict, str]:
    """Compares the gradients of each pair of domains, before training and after training by each framework."""
    rows = Splits(config)
    untrained = build_model(config.model, rows.snapshot.schema, config.seed, load_vectors(config))
    cosines_of = {"before training": cosines(untrained, rows["train"])}
    for name in FRAMEWORKS:
        variant = deepcopy(config)
        variant.framework.shared = variant.framework.name = name
        study = Study(variant)
        cosines_of[f"after {name}"] = cosines(study.model, rows["train"])
    figures = {
        name: {"mean_cosine": float(pairs.mean()), "conflicting_pairs": float((pairs < 0).mean())}
        for name, pairs in cosines_of.items()
    }
    with axes(6, 3.4) as (axis, svg):
        for (name, pairs), color in zip(cosines_of.items(), (COLOR, *OTHER_COLORS), strict=True):
            label = f"{name}: {figures[name]['conflicting_pairs']:.0%} of pairs conflict"
            axis.hist(pairs, bins=50, range=(-1, 1), histtype="step", density=True, color=color, label=label)
        axis.set_xlabel("cosine of two domains' gradients")
        axis.set_ylabel("density")
        axis.legend(fontsize=8)
    return figures, svg.getvalue()


def cosines(model: nn.Module, columns: Columns) -> np.ndarray:
    """Computes the cosine between the gradients of each pair of the largest domains, without dropout.

    A domain's gradient is that of the mean loss over its training rows, with respect to all parameters.

    Returns:
        The cosines, shape (pairs,).
    """
    theta = SharedParameters.of(model.eval())
    patch = Patch(columns, theta.features_of, theta.like.device, theta.like.dtype)
    largest = sorted(patch.domain_rows(), key=len, reverse=True)[:LARGEST_DOMAINS]
    inner = InnerOptimizer(model, lr=0.0)
    gram = gram_matrix([inner.gradients(theta, patch.batch(rows[:ROWS_PER_DOMAIN])) for rows in largest])
    length = gram.diagonal().sqrt()
    first, second = torch.triu_indices(len(gram), len(gram), offset=1)
    return (gram / torch.outer(length, length))[first, second].numpy()
