"""Runs an analysis.

python -m training.analyse helpers|rates|gradients|gain --config conf/planted.yaml [key=value ...]
"""

import json
import sys

from training.analyse.gain_by_size import gain
from training.analyse.gradient_agreement import gradients
from training.analyse.helper_count import helpers
from training.analyse.rate_grid import rates
from training.command import exit_with_user_errors
from training.config import parse_arguments
from training.errors import UserError

ANALYSES = {"helpers": helpers, "rates": rates, "gradients": gradients, "gain": gain}


def main() -> None:
    """Writes the plot and prints the figures as one line of JSON."""
    name, *arguments = sys.argv[1:] or [""]
    if name not in ANALYSES:
        raise UserError(f'analysis "{name}" does not exist: choose one of {", ".join(ANALYSES)}')
    config = parse_arguments(arguments)
    figures, svg = ANALYSES[name](config)
    path = config.folder("analyses", f"{name}.svg")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(svg)
    print(json.dumps({"analysis": name, "plot": str(path), **figures}))


if __name__ == "__main__":
    exit_with_user_errors(main)
