"""Runs a comparison: python -m training.compare --config conf/compare/quick.yaml [key=value ...]"""

import json
import shlex
import sys

from training.command import exit_with_user_errors
from training.compare.plan import load_plan
from training.compare.run import compare
from training.config import split_arguments


def main() -> None:
    """Runs the comparison and prints its summary as one line of JSON."""
    command = shlex.join(["python", "-m", "training.compare", *sys.argv[1:]])
    print(json.dumps(compare(load_plan(*split_arguments(sys.argv[1:])), command)))


if __name__ == "__main__":
    exit_with_user_errors(main)
