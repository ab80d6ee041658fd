"""How many rounds of adaptation each group of domains keeps, chosen on validation rows."""

import numpy as np

MOST_GROUPS = 8  # that choose their rounds


def size_groups(rows: np.ndarray, group_size: int) -> np.ndarray:
    """Groups of domains of like size, at most 8, of at least `group_size` domains unless there are fewer in all.

    Args:
        rows: the training rows of each domain, shape (n,).

    Returns:
        The number of each domain's group, shape (n,); a higher group has larger domains.
    """
    count = int(np.clip(len(rows) // group_size, 1, MOST_GROUPS))
    order = np.argsort(rows, kind="stable")
    result = np.empty(len(rows), np.int64)
    for number, members in enumerate(np.array_split(order, count)):
        result[members] = number
    return result


def choose_rounds(groups: np.ndarray, val_auc: np.ndarray) -> dict[int, int]:
    """How many rounds each group of domains keeps: those of the best mean validation AUC, or none.

    Args:
        groups: the group of each domain, shape (domains,).
        val_auc: shape (domains, rounds + 1), column 0 for theta^S alone; NaN where undefined.

    A gain within one standard error of zero counts as none: the best of several rounds is better by chance alone.
    """
    kept = {}
    for group in np.unique(groups).tolist():
        auc = val_auc[groups == group]
        auc = auc[~np.isnan(auc).any(axis=1)]
        best = int(auc.mean(axis=0).argmax()) if len(auc) > 1 else 0
        gain = auc[:, best] - auc[:, 0]
        kept[group] = best if best and gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)) else 0
    return kept
