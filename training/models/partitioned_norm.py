"""Normalisation by domain, the statistics of 69,102 domains as rows of tables."""

import torch
from torch import Tensor, nn

MOMENTUM = 0.1
EPSILON = 1e-3  # bounds what a feature that hardly varies within a domain is blown up to


class PartitionedNorm(nn.Module):
    """Partitioned normalisation: rows are normalised by the mean and variance of their own domain (Sheng et al., 2021).

    x -> gamma gamma_d (x - mean_d) / sqrt(var_d + EPSILON) + beta + beta_d: in training with the mean and variance of
    the domain's rows in the batch, else, and for a domain with a single row in it, with moving averages of them.

    The averages start at zero and `seen` counts what they have seen, 1 - (1 - MOMENTUM)^batches, to divide them by: a
    domain of few batches is not held back where it started, and mixing two copies, as ranks and outer steps do, mixes
    them by what each has seen. A domain that nothing was seen of has mean 0 and variance 1.
    """

    def __init__(self, domains: int, width: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.own_scale = nn.Parameter(torch.ones(domains, width))
        self.own_shift = nn.Parameter(torch.zeros(domains, width))
        for name, size in (("mean", width), ("var", width), ("seen", 1)):
            self.register_buffer(name, torch.zeros(domains, size))
        self.tables = dict.fromkeys(("own_scale", "own_shift", "mean", "var", "seen"), "domain_id")

    def forward(self, x: Tensor, domain_id: Tensor) -> Tensor:
        mean, var = self._averages()
        if self.training:
            mean, var = self._of_batch(x, domain_id, mean, var)

        def own(table: Tensor) -> Tensor:
            return table.index_select(0, domain_id)

        x = (x - own(mean)) * torch.rsqrt(own(var) + EPSILON)
        return x * self.scale * own(self.own_scale) + self.shift + own(self.own_shift)

    def _averages(self) -> tuple[Tensor, Tensor]:
        seen = torch.where(self.seen > 0, self.seen, 1)
        return self.mean / seen, torch.where(self.seen > 0, self.var / seen, 1)

    def _of_batch(self, x: Tensor, domain_id: Tensor, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        """The statistics of the batch, by domain, and `mean` and `var` where it has fewer than two rows."""

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
