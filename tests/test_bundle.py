"""The Databricks bundle: its jobs, clusters and settings exist."""

import re
from pathlib import Path

import yaml

from training.config import parse_arguments

ROOT = Path(__file__).parents[1]


def test_bundle_names_existing_jobs_and_settings():
    bundle = yaml.safe_load((ROOT / "databricks.yml").read_text())
    values = {f"var.{name}": str(variable["default"]) for name, variable in bundle["variables"].items()}
    values["workspace.file_path"] = str(ROOT)
    job = bundle["resources"]["jobs"]["mamdr"]
    clusters = {cluster["job_cluster_key"] for cluster in job["job_clusters"]}
    tasks = set()
    for task in job["tasks"]:
        assert {earlier["task_key"] for earlier in task.get("depends_on", [])} <= tasks
        assert task["job_cluster_key"] in clusters
        assert (ROOT / task["spark_python_task"]["python_file"]).exists()
        parameters = task["spark_python_task"]["parameters"]
        filled = [re.sub(r"\$\{(.+?)\}", lambda match: values[match[1]], text) for text in parameters]
        assert parse_arguments(filled).root == "file:///dbfs/mamdr"
        tasks.add(task["task_key"])
    assert tasks == {"build", "train", "dr_longtail", "evaluate", "promote", "score"}
