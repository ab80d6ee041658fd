"""Writes the report: python -m training.report --config conf/ml_latest_small.yaml [key=value ...]"""

import json
import sys
from pathlib import Path

from training.artifacts.model_names import shared_version
from training.command import exit_with_user_errors
from training.config import Config, parse_arguments
from training.data.snapshot import take_snapshot
from training.report.html_page import render
from training.report.sections import Section, data_section, learning_section, quality_section
from training.tracking import open_tracker

TEMPLATE = Path(__file__).with_name("report.html")


def write_report(config: Config) -> Path:
    """Writes ROOT/report.html about the model that `config` names and returns its path.

    Raises:
        UserError: the tables are not built.
    """
    sections = [data_section(config), learning_section(config), quality_section(config)]
    path = config.folder("report.html")
    path.write_text(render(TEMPLATE, title=config.folder().name, sections=sections))
    _track(config, path, sections)
    return path


def main() -> None:
    """Writes the report and prints its path as one line of JSON."""
    print(json.dumps({"report": str(write_report(parse_arguments(sys.argv[1:])))}))


def _track(config: Config, page: Path, sections: list[Section]) -> None:
    """Adds the page and its plots to the model's run in MLflow."""
    tracker = open_tracker(config, shared_version(config, take_snapshot(config).version))
    tracker.log_file(page.read_text(), page.name)
    for section in sections:
        for name, svg in section.plots.items():
            tracker.log_file(svg, f"plots/{name}.svg")
    tracker.finish()


if __name__ == "__main__":
    exit_with_user_errors(main)
