"""Summarises a comparison: means over domains and seeds, ranks, significance, results by size of the domain.

All functions take the rows of one data set, one row per method, seed and domain (see `results.by_domain`).
"""

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

SIZES = ((0, 100, "under 100"), (100, 1000, "100 to 999"), (1000, np.inf, "1,000 and more"))
LARGEST = 10


def overview(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per method, the best first.

    Columns:
        auc, auc_std: mean and standard deviation over seeds of the mean-domain AUC.
        weighted_auc: the same mean with domains weighted by rows.
        all_rows_auc: the AUC over the rows of all domains at once.
        rank: the mean over domains and seeds of the method's rank by AUC; 1 is the best, ties share their mean rank.
        logloss: the mean over rows.
        seeds: the number of seeds.
        p: of Wilcoxon's signed-rank test over domains against the best method; NaN for the best itself.
    """
    defined = rows.dropna(subset="auc")
    by_seed = defined.groupby(["method", "seed"])
    mean = by_seed["auc"].mean()
    weighted = by_seed[["auc", "rows"]].apply(lambda group: np.average(group["auc"], weights=group["rows"]))
    ranks = defined["auc"].groupby([defined["seed"], defined["domain_key"]]).rank(ascending=False)
    logloss = rows.groupby(["method", "seed"])[["logloss", "rows"]].apply(
        lambda group: np.average(group["logloss"], weights=group["rows"])
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
    """Returns by method the p of having the same AUC as `best`, paired by domain, on each domain's mean over seeds."""
    by_domain = rows.groupby(["domain_key", "method"])["auc"].mean().unstack()
    result = {}
    for method in by_domain:
        differences = (by_domain[best] - by_domain[method]).dropna()
        result[method] = float(wilcoxon(differences).pvalue) if differences.any() else np.nan
    return pd.Series(result)


def by_size(rows: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """Returns mean AUC by size of the domain in training rows: a row per method, a column per size."""
    defined = rows.dropna(subset="auc")
    columns = {}
    for low, high, name in SIZES:
        of_size = defined[(defined["rows_train"] >= low) & (defined["rows_train"] < high)]
        count = of_size["domain_key"].nunique()
        if count:
            means = of_size.groupby(["method", "seed"])["auc"].mean().groupby("method").mean()
            columns[f"{name} rows ({count} domains)"] = means
    return pd.DataFrame(columns).reindex(order)


def largest_domains(rows: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """Returns AUC in the ten largest domains (table IX): a row per method, a column per domain, the largest first."""
    defined = rows.dropna(subset="auc")
    sizes = defined.groupby("domain_key")["rows_train"].max().sort_values(ascending=False, kind="stable")
    chosen = sizes.index[:LARGEST]
    largest = defined[defined["domain_key"].isin(chosen)]
    return largest.groupby(["method", "domain_key"])["auc"].mean().unstack()[list(chosen)].reindex(order)
