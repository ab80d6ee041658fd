"""Builds the sections of the report from the tables. A section whose input is missing says which command makes it."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from training.artifacts.manifest import is_stored, read_manifest, state_of
from training.artifacts.model_names import model_path, shared_version, specific_version
from training.config import Config
from training.config.frameworks import framework_name
from training.data.delta_files import open_table
from training.data.published_builds import published_versions
from training.data.snapshot import take_snapshot
from training.report.svg_plots import COLOR, OTHER_COLORS, axes

PLOT_SIZE = (4.8, 3.0)  # inches
DOMAINS_SHOWN = 10
BINS = 8


@dataclass
class Section:
    """Holds a heading and the content below it.

    Attributes:
        title: the heading.
        of: the heading of the column that names the rows of its tables.
        lines: sentences.
        plots: SVG by caption.
        tables: frames by caption.
    """

    title: str
    of: str
    lines: list[str] = field(default_factory=list)
    plots: dict[str, str] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)


def data_section(config: Config) -> Section:
    """Shows sizes and label rates of the domains, and rejected rows.

    Raises:
        UserError: the tables are not built.
    """
    columns = ["rows", "rows_train", "positives_train", "head"]
    versions = published_versions(config)
    domains = open_table(config.table("domains"), versions["domains"]).to_pandas(columns=columns)
    counts = {
        "samples": domains["rows"].sum(),
        "domains": len(domains),
        "head domains": domains["head"].sum(),
        "median samples of a domain": domains["rows"].median(),
    }
    section = Section("Data", "")
    section.tables["In numbers"] = pd.DataFrame(
        {"": [f"{count:,.0f}" for count in counts.values()]}, index=list(counts)
    )
    sizes = np.sort(domains["rows"].to_numpy())[::-1]
    with axes(*PLOT_SIZE) as (axis, svg):
        axis.loglog(np.arange(1, len(sizes) + 1), sizes, ".", color=COLOR, markersize=3)
        axis.set_xlabel("domains, the largest first")
        axis.set_ylabel("samples")
    section.plots["Sizes of the domains"] = svg.getvalue()
    trained = domains[domains["rows_train"] > 0]
    with axes(*PLOT_SIZE) as (axis, svg):
        axis.hist(trained["positives_train"] / trained["rows_train"], bins=20, range=(0, 1), color=COLOR)
        axis.set_xlabel("share of positives among training samples")
        axis.set_ylabel("domains")
    section.plots["Label rates of the domains"] = svg.getvalue()
    rejects = open_table(config.table("rejects"), versions["rejects"]).to_pandas(columns=["column", "reason"])
    if len(rejects):
        reasons = rejects.groupby(["column", "reason"]).size().sort_values(ascending=False)
        names = [f"{column}: {reason}" for column, reason in reasons.index]
        section.tables["Rejected rows"] = pd.DataFrame({"rows": reasons.to_numpy()}, index=names)
    else:
        section.lines.append("No row of the log was rejected.")
    return section


def learning_section(config: Config) -> Section:
    """Shows how theta^S was learned by epoch, and where the time went."""
    section = Section("Learning", "")
    folder = model_path(config, shared_version(config, take_snapshot(config).version))
    if not is_stored(folder):
        section.lines.append("There is no model with these settings yet: run training/train.py.")
        return section
    manifest = read_manifest(folder)
    progress = manifest["progress"]
    speed = progress["rows_read"] / max(progress["seconds"], 1e-9)
    facts = {
        "framework": config.framework.name,
        "backbone": config.model.name,
        "state": state_of(manifest),
        "epochs": progress["epoch"],
        "samples a second": f"{speed:,.0f}",
        "minutes": f"{progress['seconds'] / 60:.1f}",
    }
    section.tables["The model"] = pd.DataFrame({"": list(facts.values())}, index=list(facts))
    history = progress["history"]
    if history:
        epochs = [line["epoch"] for line in history]
        with axes(*PLOT_SIZE) as (axis, svg):
            axis.plot(epochs, [line["val_mean_domain_auc"] for line in history], ".-", color=COLOR)
            axis.axvline(progress["best_epoch"], color=OTHER_COLORS[0], linestyle="--", label="kept")
            axis.set_xlabel("epoch")
            axis.set_ylabel("mean-domain AUC, validation")
            axis.legend()
        section.plots["Learning curve"] = svg.getvalue()
        seconds = pd.DataFrame([line["seconds_by_part"] for line in history]).sum()
        seconds = seconds[seconds > 0].sort_values()
        with axes(*PLOT_SIZE) as (axis, svg):
            axis.barh(seconds.index, seconds.to_numpy(), color=COLOR)
            axis.set_xlabel("seconds, all epochs")
        section.plots["What the rounds spent"] = svg.getvalue()
    return section


def quality_section(config: Config) -> Section:
    """Shows the AUC by domain of theta^S and of theta^S + theta^i, from the last run of evaluate.py."""
    section = Section("Quality on test rows", "domain")
    newest = _newest_evaluation(config)
    if newest is None:
        section.lines.append("This model was not tested yet: run pipelines/evaluate.py.")
        return section
    shared = framework_name(config.framework.shared, "none")
    whole = config.framework.name
    by_domain = newest.pivot(index="domain_key", columns="model", values="auc").astype(float)
    rows = newest.drop_duplicates("domain_key").set_index("domain_key")["rows"].reindex(by_domain.index)
    defined = by_domain[whole].notna()
    means = {name: f"{by_domain[name].mean():.4f}" for name in dict.fromkeys((shared, whole))}
    section.lines += [f"Mean-domain AUC of {name}: {mean}." for name, mean in means.items()]
    undefined = int((~defined).sum())
    section.lines.append(f"{undefined} of {len(by_domain)} domains have test rows of one class, and no AUC.")
    with axes(*PLOT_SIZE) as (axis, svg):
        axis.semilogx(rows[defined], by_domain.loc[defined, whole], ".", color=COLOR, markersize=3)
        axis.axhline(0.5, color="#888888", linewidth=1)
        axis.set_xlabel("test rows of the domain")
        axis.set_ylabel(f"AUC, {whole}")
    section.plots["AUC by size of the domain"] = svg.getvalue()
    table = pd.DataFrame({"test rows": rows[defined], "AUC": by_domain.loc[defined, whole].map("{:.4f}".format)})
    if shared != whole:
        gain = by_domain.loc[defined, whole] - by_domain.loc[defined, shared]
        table["by θⁱ"] = gain.map("{:+.4f}".format)
        section.plots["Gain by θⁱ"] = _plot_gain(rows[defined].to_numpy(), gain.to_numpy())
    larger = table[table["test rows"] >= table["test rows"].median()]
    ordered = larger.loc[by_domain.loc[larger.index, whole].sort_values(ascending=False, kind="stable").index]
    section.tables["Best of the larger half"] = ordered.head(DOMAINS_SHOWN)
    section.tables["Worst of the larger half"] = ordered.tail(DOMAINS_SHOWN)[::-1]
    return section


def _newest_evaluation(config: Config) -> pd.DataFrame | None:
    """Returns the rows of metrics_by_domain from this model's last evaluation, or None if there is none."""
    version = take_snapshot(config).version
    folder = model_path(config, shared_version(config, version))
    if not is_stored(folder):
        return None
    names = [folder.name, specific_version(config, folder.name, state_of(read_manifest(folder)))]
    try:
        table = DeltaTable(config.table("metrics_by_domain")).to_pandas(filters=[("model_version", "in", names)])
    except TableNotFoundError:
        return None
    return table[table["evaluated_at"] == table["evaluated_at"].max()] if len(table) else None


def _plot_gain(rows: np.ndarray, gain: np.ndarray) -> str:
    """Plots the gain of each domain, and its mean over domains of similar size. Returns SVG."""
    bins = [members for members in np.array_split(np.argsort(rows, kind="stable"), BINS) if len(members)]
    with axes(*PLOT_SIZE) as (axis, svg):
        axis.semilogx(rows, gain, ".", color="#bbbbbb", markersize=3)
        middle, mean = (
            [float(of(value[members])) for members in bins] for of, value in ((np.median, rows), (np.mean, gain))
        )
        axis.plot(middle, mean, "o-", color=OTHER_COLORS[0], label="mean of an eighth of the domains")
        axis.axhline(0, color="#888888", linewidth=1)
        axis.set_ylim(-0.1, 0.1)
        axis.set_xlabel("test rows of the domain")
        axis.set_ylabel("AUC with θⁱ less without")
        axis.legend()
    return svg.getvalue()
