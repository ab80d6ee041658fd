"""Baselines that need no model. Every comparison reports them."""

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix, hstack
from sklearn.linear_model import LogisticRegression

from training.column_names import IDS


def popularity(train: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    """Counts the item's positives among the domain's training rows; shape (test rows,)."""
    counts = train.groupby(["domain_id", "item_id"])["label"].sum()
    keys = pd.MultiIndex.from_frame(test[["domain_id", "item_id"]])
    return counts.reindex(keys, fill_value=0).to_numpy(np.float64)


def linear(train: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    """Returns the logits of a logistic regression on one-hot user, item and domain; shape (test rows,)."""
    model = LogisticRegression(C=1.0, max_iter=300)
    sizes = {name: 1 + max(train[name].max(), test[name].max()) for name in IDS}
    model.fit(_one_hot(train, sizes), train["label"])
    return model.decision_function(_one_hot(test, sizes))


def _one_hot(rows: pd.DataFrame, sizes: dict[str, int]) -> csr_matrix:
    index = np.arange(len(rows))
    blocks = [
        csr_matrix((np.ones(len(rows)), (index, rows[name])), shape=(len(rows), size)) for name, size in sizes.items()
    ]
    return hstack(blocks).tocsr()


SCORERS = {"popularity": popularity, "linear": linear}
