"""Weights each domain's loss by a learned uncertainty (Kendall, Gal and Cipolla, CVPR 2018)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from training.data.patch import Batch, Patch
from training.data.schema import Schema
from training.frameworks.common.inner_step import Forward, Leaves
from training.frameworks.common.round import RoundContext
from training.parameters.embedding_model import embedding_model
from training.parameters.shared import SharedParameters

LOG_SIGMA = "log_sigma"


def add_uncertainty(model: nn.Module, schema: Schema) -> None:
    """Adds a table of log sigma by domain, which starts at 0 (sigma = 1). The model's forward pass does not use it."""
    model.register_parameter(LOG_SIGMA, nn.Parameter(torch.zeros(schema.sizes["domain_id"], 1)))
    described = embedding_model(model)
    described.tables = {**described.tables, LOG_SIGMA: "domain_id"}


def weighted(theta: SharedParameters, patch: Patch, context: RoundContext) -> None:
    """Trains as `alternate` does, on weighted losses. The same steps train sigma and the model."""
    context.descend(theta, patch, context.walk_batches(patch), weighted_loss)


def weighted_loss(forward: Forward, leaves: Leaves, batch: Batch) -> Tensor:
    """Computes the mean over rows of L / sigma^2 + log sigma, with sigma of the row's domain (equation 10)."""
    log_sigma = leaves[LOG_SIGMA][batch.features["domain_id"], 0]
    losses = binary_cross_entropy_with_logits(forward(leaves, batch.features), batch.labels, reduction="none")
    return (losses * torch.exp(-2 * log_sigma) + log_sigma).mean()
