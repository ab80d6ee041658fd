"""Lists the models of a root: what each was made from, by and when, and how good it was on validation rows.

python -m training.list_models --config conf/ml_latest_small.yaml [key=value ...]
"""

import json
import sys

import pandas as pd

from training.artifacts.model_store import is_stored, read_manifest, state_of
from training.command import exit_with_user_errors
from training.config import Config, parse_arguments


def list_models(config: Config) -> pd.DataFrame:
    """One row a model, the newest last, by name; empty where there is none."""
    found = []
    for folder in sorted(config.folder("models").glob("*")):
        if is_stored(folder):
            manifest = read_manifest(folder)
            made = manifest.get("made", {})  # older models do not have it
            found.append(
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
    models = pd.DataFrame(found)
    return models.sort_values("made", kind="stable", na_position="first").set_index("model") if found else models


def main() -> None:
    models = list_models(parse_arguments(sys.argv[1:]))
    if len(models):
        print(models.to_string())
    print(json.dumps({"models": list(models.index)}))


if __name__ == "__main__":
    exit_with_user_errors(main)
