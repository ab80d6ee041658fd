"""Metrics by domain, in one sorted pass over all rows."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class DomainAuc:
    """Areas under the ROC curve.

    Attributes:
        domain_id: sorted, shape (n,).
        auc: shape (n,); NaN where a domain has one class, so that its AUC is undefined.
        rows: shape (n,).
    """

    domain_id: np.ndarray
    auc: np.ndarray
    rows: np.ndarray

    @property
    def mean(self) -> float:
        """The mean over domains with a defined AUC; NaN if there are none."""
        return float(self.auc[self.defined].mean()) if self.defined.any() else float("nan")

    @property
    def defined(self) -> np.ndarray:
        return ~np.isnan(self.auc)


def domain_auc(domains: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> DomainAuc:
    """The exact AUC of each domain, by the rank sum of its positives (Mann and Whitney), ties at average rank.

    Args:
        domains: integers; scores: floats; labels: 0 or 1. Shapes (rows,), in any order.

    Example: in one domain, scores [.1, .4, .4] and labels [0, 0, 1] give (1 + 1/2) / 2 = 0.75.
    """
    order = np.lexsort((scores, domains))
    domains, scores, positive = domains[order], scores[order], labels[order] > 0.5
    ids, starts, index, rows = np.unique(domains, return_index=True, return_inverse=True, return_counts=True)
    new_score = np.ones(len(order), bool)
    new_score[1:] = (scores[1:] != scores[:-1]) | (domains[1:] != domains[:-1])
    group = np.cumsum(new_score) - 1
    first = np.flatnonzero(new_score)
    last = np.append(first[1:], len(order)) - 1
    average_rank = ((first + last) / 2)[group] - starts[index] + 1
    positives = np.bincount(index, weights=positive, minlength=len(ids))
    rank_sum = np.bincount(index, weights=average_rank * positive, minlength=len(ids))
    pairs = positives * (rows - positives)
    wins = rank_sum - positives * (positives + 1) / 2
    auc = np.divide(wins, pairs, out=np.full(len(ids), np.nan), where=pairs > 0)
    return DomainAuc(ids, auc, rows)
