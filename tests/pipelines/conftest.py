"""Fixtures of the jobs' tests."""

import subprocess

import pytest

from tests.support.jobs import REPOSITORY
from training.config import load_config


@pytest.fixture
def shuffle_partitions(spark):
    """Returns a function that sets the number of partitions after a shuffle for one test; Spark merges none of them."""
    keys = ("spark.sql.shuffle.partitions", "spark.sql.adaptive.coalescePartitions.enabled")
    before = {key: spark.conf.get(key) for key in keys}

    def set_partitions(count):
        spark.conf.set(keys[0], count)
        spark.conf.set(keys[1], False)

    yield set_partitions
    for key, value in before.items():
        spark.conf.set(key, value)


@pytest.fixture(scope="session")
def make_config(tmp_path_factory):
    """Returns a function (source, path, *settings) -> Config that gives each config a new root."""

    def make(source, path, *settings):
        folder = tmp_path_factory.mktemp("build")
        file = folder / "config.yaml"
        file.write_text(f"root: {folder}\ntrack: false\ndata:\n  source: {source}\n  path: {path}\n")
        return load_config(str(file), settings)

    return make


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """Builds the project's wheel from a copy of all files that git tracks or would add; returns its path."""
    out = tmp_path_factory.mktemp("dist")
    listed = subprocess.run(
        [
            "git",
            "ls-files",
            "-co",
            "--exclude-standard",
            "--",
            "*.py",
            "*.sql",
            "*.html",
            "*.cfg",
            "*.toml",
            "*.md",
            "*.typed",
            "LICENSE",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in listed:
        (out / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (out / "src" / name).write_bytes((REPOSITORY / name).read_bytes())
    command = ["uv", "build", "--quiet", "--wheel", "--no-build-isolation", "-o", str(out)]
    subprocess.run(command, cwd=out / "src", check=True, timeout=120)
    [path] = out.glob("*.whl")
    return path
