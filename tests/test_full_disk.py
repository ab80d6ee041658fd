"""Fills the disk during a build and a training: errors name the disk, and the same commands succeed with more space."""

import shutil
import subprocess
import sys

import pytest

from tests.support.jobs import REPOSITORY, SPARK_SUBMIT

IN_NAMESPACE = ["unshare", "--map-root-user", "--mount", "bash", "-c"]  # a namespace in which a user may mount a disk


def can_mount(folder):
    """Returns whether this machine lets a user mount a disk in a namespace."""
    done = subprocess.run([*IN_NAMESPACE, f"mount -t tmpfs tmpfs {folder}"], capture_output=True)
    return done.returncode == 0


def test_build_and_training_resume_after_a_full_disk(tmp_path):
    if shutil.which("unshare") is None or not can_mount(tmp_path):
        pytest.skip("only root can mount a disk on this machine")
    disk, log, config = tmp_path / "disk", tmp_path / "log.csv", tmp_path / "config.yaml"
    disk.mkdir()
    lines = [f"d{n % 7},u{n % 1009},i{n % 499},{n % 2}" for n in range(8_000)]
    log.write_text("\n".join(["domain,user,item,label", *lines, ""]))
    data = f"{{source: csv, path: {log}, columns: {{label: label}}}}"
    config.write_text(f"root: {disk}/root\ntrack: false\ndata: {data}\ntraining: {{epochs: 1}}\n")
    build = f"{SPARK_SUBMIT} --master 'local[1]' pipelines/build_domains.py --config {config}"
    train = f"{sys.executable} training/train.py --config {config} framework.name=joint"
    steps = [
        f"mount -t tmpfs -o size=160k tmpfs {disk}",
        f"{build} > {tmp_path}/1.out 2> {tmp_path}/1.err; echo $?",
        f"mount -o remount,size=50m {disk}",
        f"{train} > {tmp_path}/2.out 2> {tmp_path}/2.err; echo $?",
        f"{build} > {tmp_path}/3.out 2> {tmp_path}/3.err; echo $?",
        f"mount -o remount,size=$(( $(du -sk {disk} | cut -f1) + 100 ))k {disk}",
        f"{train} > {tmp_path}/4.out 2> {tmp_path}/4.err; echo $?",
        f"mount -o remount,size=50m {disk}",
        f"{train} > {tmp_path}/5.out 2> {tmp_path}/5.err; echo $?",
    ]
    done = subprocess.run(
        [*IN_NAMESPACE, " && ".join(f"{{ {step}; }}" for step in steps)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=400,
    )
    errors = {number: (tmp_path / f"{number}.err").read_text()[-2000:] for number in range(1, 6)}
    assert done.stdout.split() == ["2", "2", "0", "2", "0"], (done.stderr, errors)
    assert f"error: no space left on the disk of root {disk}/root or spark.local.dir" in errors[1]
    assert "pipelines/build_domains.py" in errors[2]
    assert f"error: no space left on the disk of root {disk}/root: free some" in errors[4]
