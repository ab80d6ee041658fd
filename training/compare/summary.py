"""What a comparison says: means over domains and seeds, ranks, significance, by size. Pure functions on frames.

All take one row a data set, method, seed and domain (see `results.by_domain`), of one data set.
"""

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

SIZES = ((0, 100, "under 100"), (100, 1000, "100 to 999"), (1000, np.inf, "1,000 and more"))
LARGEST = 10


def overview(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a method, best first.

    Columns: auc and auc_std (of mean-domain AUC, over seeds), weighted_auc (by rows), all_rows_auc, rank (the mean over
    domains and seeds of the method's rank by AUC, 1 the best, ties at average rank), logloss (over rows), seeds, and p
    (Wilcoxon's signed-rank test over domains against the best method; NaN for the best itself).
    """
    defined = rows.dropna(subset="auc")
    by_seed = defined.groupby(["method", "seed"])
    mean = by_seed["auc"].mean()
    weighted = by_seed[["auc", "rows"]].apply(lambda part: np.average(part["auc"], weights=part["rows"]))
    ranks = defined["auc"].groupby([defined["seed"], defined["domain_key"]]).rank(ascending=False)
    logloss = rows.groupby(["method", "seed"])[["logloss", "rows"]].apply(
        lambda part: np.average(part["logloss"], weights=part["rows"])
    )
    table = pd.DataFrame(
        {
            "auc": mean.groupby("method").mean(),
            "auc_std": mean.groupby("method").std(),
            "weighted_auc": weighted.groupby("method").mean(),
            "all_rows_auc": rows.groupby(["method", "seed"])["all_rows_auc"].first().groupby("method").mean(),
            "rank": ranks.groupby([defined["method"], defined["seed"]]).mean().groupby("method").mean(),
            "logloss": logloss.groupby("method").mean(),
            "seeds": mean.groupby("method").count(),
        }
    ).sort_values("auc", ascending=False)
    table["p"] = against_best(defined, table.index[0])
    return table


def against_best(rows: pd.DataFrame, best: str) -> pd.Series:
    """By method the p of equal AUC with the method `best`, paired by domain; a domain's AUC is its mean over seeds."""
    by_domain = rows.groupby(["domain_key", "method"])["auc"].mean().unstack()
    result = {}
    for method in by_domain:
        differences = (by_domain[best] - by_domain[method]).dropna()
        result[method] = float(wilcoxon(differences).pvalue) if differences.any() else np.nan
    return pd.Series(result)


def by_size(rows: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """Mean AUC of the domains of a size (training rows), a row a method, and how many domains are of it."""
    defined = rows.dropna(subset="auc")
    columns = {}
    for low, high, name in SIZES:
        part = defined[(defined["rows_train"] >= low) & (defined["rows_train"] < high)]
        count = part["domain_key"].nunique()
        if count:
            means = part.groupby(["method", "seed"])["auc"].mean().groupby("method").mean()
            columns[f"{name} rows ({count} domains)"] = means
    return pd.DataFrame(columns).reindex(order)


def largest_domains(rows: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """AUC in the ten largest domains (table IX): a row a method, a column a domain, the largest first."""
    defined = rows.dropna(subset="auc")
    sizes = defined.groupby("domain_key")["rows_train"].max().sort_values(ascending=False, kind="stable")
    chosen = sizes.index[:LARGEST]
    part = defined[defined["domain_key"].isin(chosen)]
    return part.groupby(["method", "domain_key"])["auc"].mean().unstack()[list(chosen)].reindex(order)
