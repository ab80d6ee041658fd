"""Weighted Loss: each domain's loss weighted by a learned uncertainty (Kendall, Gal and Cipolla, CVPR 2018)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from training.data.patch import Batch, Patch
from training.data.schema import Schema
from training.frameworks.inner_step import Forward, Leaves
from training.frameworks.round import RoundContext
from training.parameters.shared import SharedParameters

LOG_SIGMA = "log_sigma"


def add_uncertainty(model: nn.Module, schema: Schema) -> None:
    """Gives the module a table of log sigma by domain, 0 at first (sigma = 1), which its forward pass does not use."""
    model.register_parameter(LOG_SIGMA, nn.Parameter(torch.zeros(schema.sizes["domain_id"], 1)))
    model.tables = {**model.tables, LOG_SIGMA: "domain_id"}


def weighted(theta: SharedParameters, patch: Patch, run: RoundContext) -> None:
    """Alternate training on weighted losses; sigma is trained with the model and by the same steps."""
    run.descend(theta, patch, run.walk_batches(patch), weighted_loss)


def weighted_loss(forward: Forward, leaves: Leaves, batch: Batch) -> Tensor:
    """The mean over rows of L / sigma^2 + log sigma, sigma that of the row's domain (equation 10)."""
    log_sigma = leaves[LOG_SIGMA][batch.features["domain_id"], 0]
    losses = binary_cross_entropy_with_logits(forward(leaves, batch.features), batch.labels, reduction="none")
    return (losses * torch.exp(-2 * log_sigma) + log_sigma).mean()
