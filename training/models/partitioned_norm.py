"""Normalises by domain, with the statistics of domains as rows of tables."""

import torch
from torch import Tensor, nn

MOMENTUM = 0.1
EPSILON = 1e-3  # limits how much a feature that hardly varies within a domain is scaled up


class PartitionedNorm(nn.Module):
    """Normalises samples by the mean and variance of their own domain (partitioned normalisation, Sheng et al., 2021).

    Computes x -> gamma gamma_d (x - mean_d) / sqrt(var_d + EPSILON) + beta + beta_d. In training, mean and variance are
    those of the domain's samples in the batch. In evaluation, and for a domain with a single sample in the batch, they
    are moving averages.

    The averages start at zero. To correct for that they are divided by `seen` = 1 - (1 - MOMENTUM)^batches. So the
    start does not bias a domain with few batches, and averaging two copies, as ranks and outer steps do, weights them
    by what each has seen. A domain that was never seen has mean 0 and variance 1.
    """

    mean: Tensor
    var: Tensor
    seen: Tensor

    def __init__(self, domains: int, width: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.own_scale = nn.Parameter(torch.ones(domains, width))
        self.own_shift = nn.Parameter(torch.zeros(domains, width))
        for name, size in (("mean", width), ("var", width), ("seen", 1)):
            self.register_buffer(name, torch.zeros(domains, size))
        self.tables = dict.fromkeys(("own_scale", "own_shift", "mean", "var", "seen"), "domain_id")

    def forward(self, x: Tensor, domain_id: Tensor) -> Tensor:
        """Normalises x, shape (rows, width), and updates the averages in training mode."""
        mean, var = self._averages()
        if self.training:
            mean, var = self._of_batch(x, domain_id, mean, var)

        def by_row(table: Tensor) -> Tensor:
            return table.index_select(0, domain_id)

        x = (x - by_row(mean)) * torch.rsqrt(by_row(var) + EPSILON)
        return x * self.scale * by_row(self.own_scale) + self.shift + by_row(self.own_shift)

    def _averages(self) -> tuple[Tensor, Tensor]:
        """Returns the moving averages of mean and variance, by domain."""
        seen = torch.where(self.seen > 0, self.seen, 1)
        return self.mean / seen, torch.where(self.seen > 0, self.var / seen, 1)

    def _of_batch(self, x: Tensor, domain_id: Tensor, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the batch's mean and variance by domain, and `mean` and `var` for domains with fewer than two rows.

        Updates the moving averages.
        """

        def sums(rows: Tensor) -> Tensor:
            return rows.new_zeros(len(self.seen), rows.shape[1]).index_add(0, domain_id, rows)

        count = sums(torch.ones_like(x[:, :1]))
        several, divisor = count > 1, count.clamp(min=1)
        batch_mean = sums(x) / divisor
        batch_var = sums((x - batch_mean.index_select(0, domain_id)).square()) / divisor
        with torch.no_grad():
            rate = MOMENTUM * several.to(x.dtype)
            self.mean.lerp_(batch_mean, rate)
            self.var.lerp_(batch_var * count / (count - 1).clamp(min=1), rate)
            self.seen.lerp_(torch.ones_like(self.seen), rate)
        return torch.where(several, batch_mean, mean), torch.where(several, batch_var, var)
