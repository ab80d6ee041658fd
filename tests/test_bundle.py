"""What Databricks is given: the jobs of the bundle."""

import re
from pathlib import Path

import yaml

from training.config import parse_arguments

ROOT = Path(__file__).parents[1]


def test_the_bundle_names_jobs_and_settings_that_there_are():
    bundle = yaml.safe_load((ROOT / "databricks.yml").read_text())
    values = {f"var.{name}": str(variable["default"]) for name, variable in bundle["variables"].items()}
    values["workspace.file_path"] = str(ROOT)
    job = bundle["resources"]["jobs"]["mamdr"]
    clusters = {cluster["job_cluster_key"] for cluster in job["job_clusters"]}
    done = set()
    for task in job["tasks"]:
        assert {one["task_key"] for one in task.get("depends_on", [])} <= done
        assert task["job_cluster_key"] in clusters
        assert (ROOT / task["spark_python_task"]["python_file"]).exists()
        parameters = task["spark_python_task"]["parameters"]
        filled = [re.sub(r"\$\{(.+?)\}", lambda match: values[match[1]], one) for one in parameters]
        assert parse_arguments(filled).root == "file:///dbfs/mamdr"
        done.add(task["task_key"])
    assert done == {"build", "train", "dr_longtail", "evaluate", "promote", "score"}
