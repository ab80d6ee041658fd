"""A comparison as Markdown and as one HTML page."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pandas as pd

from training.compare import summary
from training.compare.plan import CompareConfig, seeds_of
from training.report.html_page import render
from training.report.svg_plots import COLOR, axes

TEMPLATE = Path(__file__).with_name("report.html")
EXPLAINED = (
    "Mean-domain AUC is the mean over domains with both classes in the test rows. RANK is the mean over domains of a "
    "method's rank by AUC, 1 the best. p: Wilcoxon's signed-rank test over domains against the best method."
)
OVERVIEW = {
    "auc": "mean-domain AUC",
    "weighted_auc": "weighted AUC",
    "all_rows_auc": "AUC of all rows",
    "rank": "RANK",
    "logloss": "log loss",
    "p": "p against the best",
}


def write(
    rows: pd.DataFrame, root: Path, plan: CompareConfig, command: str, origins: Sequence[tuple[str | None, date]]
) -> dict:
    """Writes report.md and report.html to `root`; returns their paths and the means, for the summary line.

    Args:
        command, origins: what the cells were made by, and from which commits on which days, for the report to say.
    """
    made = ", ".join(f"{commit or 'no repository'} of {day.isoformat()}" for commit, day in origins)
    sections, means = [], {}
    for data in plan.data:
        part = rows[rows["data"] == data]
        found = summary.overview(part)
        order = list(found.index)
        means[data] = {method: round(auc, 6) for method, auc in found["auc"].items()}
        seeds = ", ".join(map(str, seeds_of(plan, data)))
        sections.append(
            {
                "title": f"{data}: {part['domain_key'].nunique()} domains, seeds {seeds}",
                "plot": plot(found),
                "tables": {
                    "Methods": shown(found),
                    "Mean AUC by training rows of the domain": figures(summary.by_size(part, order)),
                    "AUC in the largest domains": figures(summary.largest_domains(part, order)),
                },
            }
        )
    title = Path(plan.root).name
    head = [f"# {title}", f"Made by `{command}` (commit and day: {made}).", EXPLAINED]
    (root / "report.md").write_text("\n\n".join([*head, *map(markdown, sections)]) + "\n")
    page = render(TEMPLATE, title=title, command=command, made=made, explained=EXPLAINED, sections=sections)
    (root / "report.html").write_text(page)
    return {"report": str(root / "report.html"), "mean_domain_auc": means}


def shown(overview: pd.DataFrame) -> pd.DataFrame:
    """The overview as text, under the names that readers know."""
    table = figures(overview[["auc", "weighted_auc", "all_rows_auc", "logloss"]])
    spread = overview["auc_std"].map(lambda value: "" if pd.isna(value) else f" ± {value:.4f}")
    table["auc"] += spread
    table["rank"] = overview["rank"].map("{:.2f}".format)
    table["p"] = overview["p"].map(lambda value: "" if pd.isna(value) else f"{value:.2g}")
    return table[list(OVERVIEW)].rename(columns=OVERVIEW)


def figures(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers as text of four digits; what is not defined is empty."""
    return table.map(lambda value: "" if pd.isna(value) else f"{value:.4f}")


def markdown(section: dict) -> str:
    parts = [f"## {section['title']}"]
    for title, table in section["tables"].items():
        header = ["method", *table.columns]
        lines = [
            header,
            ["---"] * len(header),
            *([name, *row] for name, row in zip(table.index, table.to_numpy(), strict=True)),
        ]
        body = "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
        parts.append(f"{title}:\n\n{body}")
    return "\n\n".join(parts)


def plot(overview: pd.DataFrame) -> str:
    """Mean-domain AUC by method with its spread over seeds, as SVG."""
    table = overview.iloc[::-1]
    with axes(7, 0.6 + 0.28 * len(table)) as (own, svg):
        spread = table["auc_std"].fillna(0)
        own.errorbar(table["auc"], range(len(table)), xerr=spread, fmt="o", color=COLOR, capsize=3)
        own.set_yticks(range(len(table)), table.index)
        own.set_xlabel("mean-domain AUC (bars: standard deviation over seeds)")
    return svg.getvalue()
