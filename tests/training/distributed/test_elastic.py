"""Ranks die, join and leave while a run trains."""

import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.training.loop.test_sharded_run import SHARDED, val_auc
from training.artifacts.manifest import read_manifest
from training.data.snapshot import take_snapshot

ROOT = Path(__file__).parents[3]
HOSTS = ("localhost", "127.0.0.1", "127.1")  # names of this machine; Horovod takes each for a host
EPOCHS = 40


class ElasticRun:
    """A run under horovodrun with one rank on each host; the hosts can be changed while it trains."""

    def __init__(self, folder, *arguments):
        self.hosts, self.log = folder / "hosts", folder / "log"
        script = folder / "discover.sh"
        script.write_text(f"#!/bin/sh\ncat {self.hosts}\n")
        script.chmod(0o755)
        self.set_hosts(HOSTS[:2])
        elastic = ["--min-np", "1", "--max-np", "3", "--host-discovery-script", str(script)]
        command = ["horovodrun", "-np", "2", *elastic, "--network-interface", "lo", "--output-filename", str(folder)]
        self.process = subprocess.Popen(
            [*command, sys.executable, "training/train.py", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=self.log.open("w"),
            text=True,
        )

    def set_hosts(self, hosts):
        new_hosts = self.hosts.with_name("new_hosts")
        new_hosts.write_text("".join(f"{host}:1\n" for host in hosts))
        new_hosts.rename(self.hosts)

    def wait_for(self, text, times=1):
        deadline = time.monotonic() + 240
        while self.log.read_text().count(text) < times:
            is_running = time.monotonic() < deadline and self.process.poll() is None
            assert is_running, self.log.read_text()[-5000:]
            time.sleep(0.05)

    def worker(self, host):
        """Returns the process of the rank on `host`."""
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # processes that discover hosts may end at any moment
                is_rank = "training/train.py" in process.cmdline()[1:2]
                if is_rank and process.environ().get("HOROVOD_HOSTNAME") == host:
                    return process
        raise LookupError(host)

    def finish(self):
        out, _ = self.process.communicate(timeout=480)
        assert self.process.returncode == 0, self.log.read_text()[-5000:]
        return json.loads(out.splitlines()[-1].partition(":")[2])


def test_each_epoch_reads_every_row_once_while_ranks_come_and_go(built, tmp_path):
    settings = ["framework.name=dn", SHARDED, built.copy(tmp_path), "training.batch_size=4"]
    settings += [f"training.epochs={EPOCHS}", f"training.patience={EPOCHS}"]
    run = ElasticRun(tmp_path, "--config", built.config_path, *settings)
    run.wait_for("epoch 3:")
    run.worker(HOSTS[1]).send_signal(signal.SIGKILL)
    run.wait_for("resuming after epoch")
    run.set_hosts([HOSTS[0], HOSTS[2]])
    run.wait_for("resuming after epoch", times=2)
    run.set_hosts([HOSTS[2]])
    summary = run.finish()
    config = built.config(*settings)
    history = read_manifest(Path(summary["model_path"]))["progress"]["history"]
    listed = sum(take_snapshot(config).rows_by_bucket("train").values())
    assert [epoch["rows_read"] for epoch in history] == [listed] * EPOCHS
    ranks = [epoch["ranks"] for epoch in history]
    assert [after for before, after in zip([0, *ranks], ranks, strict=False) if after != before] == [2, 1, 2, 1]
    assert val_auc(config) == pytest.approx(summary["val_mean_domain_auc"], abs=1e-9)
