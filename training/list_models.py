"""Lists the models of a root, with their origin, age and validation AUC.

python -m training.list_models --config conf/ml_latest_small.yaml [key=value ...]
"""

import json
import sys

import pandas as pd

from training.artifacts.manifest import is_stored, read_manifest, state_of
from training.command import exit_with_user_errors
from training.config import Config, parse_arguments


def list_models(config: Config) -> pd.DataFrame:
    """Returns a table with one row for each model, indexed by name, the newest last; empty if there are no models."""
    rows = []
    for folder in sorted(config.folder("models").glob("*")):
        if is_stored(folder):
            manifest = read_manifest(folder)
            made = manifest.get("made", {})  # absent in models of older versions
            rows.append(
                {
                    "model": folder.name,
                    "made": made.get("at"),
                    "samples": manifest["table_version"],
                    "state": state_of(manifest),
                    "from": manifest.get("grown_from", manifest.get("started_from")),
                    "val AUC": round(manifest["progress"]["best_auc"], 4),
                    "commit": made.get("commit"),
                }
            )
    if not rows:
        return pd.DataFrame()
    return pd.DataFrame(rows).sort_values("made", kind="stable", na_position="first").set_index("model")


def main() -> None:
    """Prints the models as a table, and their names as a JSON line."""
    models = list_models(parse_arguments(sys.argv[1:]))
    if len(models):
        print(models.to_string())
    print(json.dumps({"models": list(models.index)}))


if __name__ == "__main__":
    exit_with_user_errors(main)
