"""What a cluster is given: the wheel, and the jobs of the Databricks bundle."""

import re
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.jobs import ONE_EXECUTOR, submit
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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this project, made from a copy of what is committed or about to be."""
    out = tmp_path_factory.mktemp("dist")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "--", "*.py", "*.sql", "*.html", "*.cfg", "*.toml", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in listed:
        (out / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (out / "src" / name).write_bytes((ROOT / name).read_bytes())
    command = ["uv", "build", "--quiet", "--wheel", "--no-build-isolation", "-o", str(out)]
    subprocess.run(command, cwd=out / "src", check=True, timeout=120)
    [path] = out.glob("*.whl")
    return path


def test_a_build_runs_out_of_the_wheel_on_a_cluster(wheel, tmp_path):
    """Driver and executor take the package, its SQL with it, from --py-files."""
    with zipfile.ZipFile(wheel) as archive:
        assert {"sql/auc.sql", "sql/checks/ids.sql", "sql/tables/samples.sql"} <= set(archive.namelist())
    (tmp_path / "log.csv").write_text("domain,user,item,label\na,u1,i1,1\na,u2,i1,0\n")
    job = tmp_path / "job.py"
    job.write_text(
        "from pipelines import build_domains, session\n"
        "assert '.whl' in build_domains.__file__, build_domains.__file__\n"
        "session.run_job('build_domains', build_domains.build)\n"
    )
    config = tmp_path / "config.yaml"
    data = f"{{source: csv, path: {tmp_path}/log.csv, columns: {{label: label}}}}"
    config.write_text(f"root: {tmp_path}/root\ndata: {data}\n")
    done = submit(ONE_EXECUTOR, "--py-files", str(wheel), str(job), "--config", str(config))
    assert done.returncode == 0, done.stderr[-3000:]
    assert '"samples": 2' in done.stdout
