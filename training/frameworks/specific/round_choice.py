"""Chooses on validation rows how many rounds of adaptation each group of domains keeps."""

import numpy as np

MOST_GROUPS = 8  # groups that choose their rounds


def size_groups(rows: np.ndarray, group_size: int) -> np.ndarray:
    """Groups domains by size, into at most MOST_GROUPS groups of at least `group_size` domains.

    With fewer domains there is one group.

    Args:
        rows: the training rows of each domain, shape (n,).
        group_size: the least number of domains in a group.

    Returns:
        The group of each domain, shape (n,). Groups with higher numbers hold larger domains.

    >>> size_groups(np.array([5, 900, 7, 850, 6, 910]), group_size=3).tolist()
    [0, 1, 0, 1, 0, 1]
    """
    count = int(np.clip(len(rows) // group_size, 1, MOST_GROUPS))
    order = np.argsort(rows, kind="stable")
    result = np.empty(len(rows), np.int64)
    for group, members in enumerate(np.array_split(order, count)):
        result[members] = group
    return result


def choose_rounds(groups: np.ndarray, val_auc: np.ndarray) -> dict[int, int]:
    """Chooses for each group of domains the number of rounds with the best mean validation AUC.

    A gain of less than one standard error counts as none, since the best of several rounds is better by chance alone.

    Args:
        groups: the group of each domain, shape (domains,).
        val_auc: the AUC of each domain with theta^S alone (column 0) and after each round, shape
            (domains, rounds + 1). Domains with NaN are ignored.

    Returns:
        The number of rounds by group; 0 if theta^S alone is as good.

    >>> choose_rounds(np.array([0, 0]), np.array([[0.50, 0.60, 0.55], [0.50, 0.62, 0.70]]))
    {0: 2}
    """
    chosen = {}
    for group in np.unique(groups).tolist():
        auc = val_auc[groups == group]
        auc = auc[~np.isnan(auc).any(axis=1)]
        best = int(auc.mean(axis=0).argmax()) if len(auc) > 1 else 0
        gain = auc[:, best] - auc[:, 0]
        chosen[group] = best if best and gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)) else 0
    return chosen
