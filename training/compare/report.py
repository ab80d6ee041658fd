"""Writes a comparison as Markdown and as one HTML page."""

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
    """Writes report.md and report.html to `root`. Returns the page's path and the mean AUCs, for the summary line.

    Args:
        rows: the results by domain, see results.by_domain.
        command: the command that the report names as its origin.
        origins: the commits and days of the runs, which the report names too.
    """
    made = ", ".join(f"{commit or 'no repository'} of {day.isoformat()}" for commit, day in origins)
    sections, means = [], {}
    for data in plan.data:
        data_rows = rows[rows["data"] == data]
        overview = summary.overview(data_rows)
        order = list(overview.index)
        means[data] = {method: round(auc, 6) for method, auc in overview["auc"].items()}
        seeds = ", ".join(map(str, seeds_of(plan, data)))
        sections.append(
            {
                "title": f"{data}: {data_rows['domain_key'].nunique()} domains, seeds {seeds}",
                "plot": plot(overview),
                "tables": {
                    "Methods": format_overview(overview),
                    "Mean AUC by training rows of the domain": format_numbers(summary.by_size(data_rows, order)),
                    "AUC in the largest domains": format_numbers(summary.largest_domains(data_rows, order)),
                },
            }
        )
    title = Path(plan.root).name
    head = [f"# {title}", f"Made by `{command}` (commit and day: {made}).", EXPLAINED]
    (root / "report.md").write_text("\n\n".join([*head, *map(markdown, sections)]) + "\n")
    page = render(TEMPLATE, title=title, command=command, made=made, explained=EXPLAINED, sections=sections)
    (root / "report.html").write_text(page)
    return {"report": str(root / "report.html"), "mean_domain_auc": means}


def format_overview(overview: pd.DataFrame) -> pd.DataFrame:
    """Formats the overview as text, under the names that readers know."""
    table = format_numbers(overview[["auc", "weighted_auc", "all_rows_auc", "logloss"]])
    spread = overview["auc_std"].map(lambda value: "" if pd.isna(value) else f" ± {value:.4f}")
    table["auc"] += spread
    table["rank"] = overview["rank"].map("{:.2f}".format)
    table["p"] = overview["p"].map(lambda value: "" if pd.isna(value) else f"{value:.2g}")
    return table[list(OVERVIEW)].rename(columns=OVERVIEW)


def format_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Formats numbers with four digits; undefined ones are empty."""
    return table.map(lambda value: "" if pd.isna(value) else f"{value:.4f}")


def markdown(section: dict) -> str:
    """Formats a section as Markdown."""
    paragraphs = [f"## {section['title']}"]
    for title, table in section["tables"].items():
        header = ["method", *table.columns]
        lines = [
            header,
            ["---"] * len(header),
            *([name, *row] for name, row in zip(table.index, table.to_numpy(), strict=True)),
        ]
        body = "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
        paragraphs.append(f"{title}:\n\n{body}")
    return "\n\n".join(paragraphs)


def plot(overview: pd.DataFrame) -> str:
    """Plots the mean-domain AUC of each method with its spread over seeds. Returns SVG."""
    table = overview.iloc[::-1]
    with axes(7, 0.6 + 0.28 * len(table)) as (axis, svg):
        spread = table["auc_std"].fillna(0)
        axis.errorbar(table["auc"], range(len(table)), xerr=spread, fmt="o", color=COLOR, capsize=3)
        axis.set_yticks(range(len(table)), table.index)
        axis.set_xlabel("mean-domain AUC (bars: standard deviation over seeds)")
    return svg.getvalue()
