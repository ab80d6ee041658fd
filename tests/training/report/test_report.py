"""The report: complete, self-contained, and safe to open whatever the domains are called."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake

from pipelines.dr_longtail import dr_longtail
from pipelines.evaluate import evaluate
from training.train import train

HOSTILE = "<script>console.error('run')</script>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def report(built, root):
    done = subprocess.run(
        [sys.executable, "-m", "training.report", "--config", built.config_path, root, "framework.name=joint_dr"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return Path(json.loads(done.stdout.splitlines()[-1])["report"])


@pytest.fixture(scope="module")
def page(spark, built, tmp_path_factory):
    root = built.copy(tmp_path_factory.mktemp("report"))
    config = built.config(root, "framework.name=joint_dr")
    train(config)
    dr_longtail(spark, config)
    evaluate(spark, config)
    path = config.table("metrics_by_domain")
    rows = DeltaTable(path).to_pandas()
    rows["domain_key"] = HOSTILE + rows["domain_key"]
    write_deltalake(path, rows, mode="overwrite")
    return report(built, root)


def test_report_has_all_sections_and_plots(page):
    text = page.read_text()
    assert re.findall("<h2>(.*?)</h2>", text) == ["Data", "Learning", "Quality on test rows"]
    assert re.findall("<figcaption>(.*?)</figcaption>", text) == [
        *("Sizes of the domains", "Label rates of the domains", "Learning curve", "What the rounds spent"),
        *("AUC by size of the domain", "Gain by θⁱ"),
    ]
    assert text.count("<svg") == 6
    assert "run pipelines" not in text


def test_page_loads_nothing_from_other_files_or_the_network(page):
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", page.read_text())
    assert not re.findall(r"@import|url\((?!#)", page.read_text())


def test_domain_key_is_escaped(page):
    text = page.read_text()
    assert "<script" not in text
    assert "&lt;script&gt;console.error(&#39;run&#39;)&lt;/script&gt;domain 0" in text


def test_report_names_the_command_for_a_missing_section(built, tmp_path):
    text = report(built, built.copy(tmp_path)).read_text()
    assert "There is no model with these settings yet: run training/train.py." in text
    assert "This model was not tested yet: run pipelines/evaluate.py." in text


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")
@pytest.mark.parametrize("width", [390, 1440])
def test_browser_draws_the_page_without_an_error(page, tmp_path, width):
    shot = tmp_path / "page.png"
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
            *(f"--window-size={width},2000", f"--screenshot={shot}", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "CONSOLE" not in done.stderr
    assert shot.stat().st_size > 20_000
