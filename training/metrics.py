"""Computes the AUC of every domain in one sorted pass over all rows."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class DomainAuc:
    """Holds the area under the ROC curve of each domain.

    Attributes:
        domain_id: sorted, shape (domains,).
        auc: shape (domains,); NaN if a domain has rows of one class only, so its AUC is undefined.
        rows: the number of rows, shape (domains,).
    """

    domain_id: np.ndarray
    auc: np.ndarray
    rows: np.ndarray

    @property
    def mean(self) -> float:
        """Returns the mean AUC over the domains where it is defined; NaN if there are none."""
        return float(self.auc[self.defined].mean()) if self.defined.any() else float("nan")

    @property
    def defined(self) -> np.ndarray:
        """Returns whether each domain has an AUC: bool, shape (domains,)."""
        return ~np.isnan(self.auc)


def domain_auc(domains: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> DomainAuc:
    """Computes the exact AUC of each domain from the rank sum of its positives (Mann and Whitney).

    Rows with equal scores get the mean of their ranks.

    Args:
        domains: integers, shape (rows,), in any order.
        scores: floats, shape (rows,).
        labels: 0 or 1, shape (rows,).

    Of the two pairs of a negative and the positive, the first is won, and the second is a tie:

    >>> domain_auc(np.array([5, 5, 5]), np.array([0.1, 0.4, 0.4]), np.array([0, 0, 1])).auc.tolist()
    [0.75]
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
