"""python -m training.report --config conf/ml_latest_small.yaml [key=value ...]"""

import json
import sys
from pathlib import Path

from training.config import parse_arguments
from training.errors import exit_with_user_errors
from training.pages import render
from training.report.sections import data_section, learning_section, quality_section

TEMPLATE = Path(__file__).with_name("report.html")


def main() -> None:
    config = parse_arguments(sys.argv[1:])
    sections = [data_section(config), learning_section(config), quality_section(config)]
    path = Path(config.root, "report.html").absolute()
    path.write_text(render(TEMPLATE, title=Path(config.root).name, sections=sections))
    print(json.dumps({"report": str(path)}))


if __name__ == "__main__":
    exit_with_user_errors(main)
