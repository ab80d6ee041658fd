"""What the documentation tells a user to type is run, or at least checked key by key."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from training.compare.plan import candidates, load_plan, works
from training.config import load_config
from training.train import train

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SMALL = ["data.domains=[Comedy,Drama,Western]", "training.epochs=1", "framework.dr_rounds=1", "framework.stop_group=2"]


def commands_of(page):
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def the_chain():
    """The six commands of the README, in their order."""
    return [line for line in commands_of(ROOT / "README.md") if "--config conf/ml_latest_small.yaml" in line]


def test_the_demo_is_the_readmes_commands():
    demo = (ROOT / "Makefile").read_text().split("demo: setup")[1].split("\n\n")[0]
    typed = [line.strip().split(" > ")[0].replace("$(CONF)", "conf/ml_latest_small.yaml") for line in demo.splitlines()]
    assert [line for line in typed if "--config" in line] == the_chain()


def test_the_readmes_commands_run_as_they_stand(tmp_path):
    """On three domains, for an epoch; each must end with its summary."""
    summaries = []
    for command in the_chain():
        typed = shlex.split(command) + [f"root={tmp_path}", *SMALL]
        done = subprocess.run(typed, cwd=ROOT, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, done.stderr[-3000:]
        summaries.append(json.loads(done.stdout.splitlines()[-1].removeprefix("[0]<stdout>:")))
    build, train, longtail, evaluation, scores, page = summaries
    assert build["rows_in"] == build["rows_kept"] + build["rows_rejected"] + build["rows_duplicate"]
    assert (build["domains"], train["ranks"], train["framework"]) == (3, 2, "mamdr")
    assert longtail["domains"] + longtail["domains_skipped"] == 1
    assert list(evaluation["models"]) == ["dn", "mamdr"]
    assert (scores["domains"], scores["requests_rejected"]) == (3, 0)
    assert scores["requests"] < scores["rows"] <= 10 * scores["requests"]
    assert "Quality on test rows" in Path(page["report"]).read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_names_things_that_exist(page):
    for command in commands_of(page):
        words = shlex.split(command.split("#")[0])
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), command
        for word in words:
            if word.endswith((".py", ".yaml")):
                assert (ROOT / word).exists(), command
        if "--config" in words:
            path, *after = words[words.index("--config") + 1 :]
            load = load_plan if "training.compare" in words else load_config
            load(str(ROOT / path), after)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_fault_is_held_by_a_test_of_that_name():
    known = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs/faults.md").read_text())
    assert [name for name in named if f"def {name}(" not in known] == []


def test_the_readmes_table_is_that_of_the_report():
    lines = (ROOT / "README.md").read_text().split("<!-- table_x -->")[1].split("\n\n")[0].splitlines()
    shown = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line]
    report = (ROOT / "docs/results/table_x/README.md").read_text().split("\n## ")
    sections = {part.split(":")[0]: part for part in report}
    for column, data in enumerate(("ml_latest_small", "ml_1m_genre", "planted", "planted_0"), start=1):
        for method, *figures in shown[2:]:
            name = method if method == "linear" else f"mlp\\+{method}"
            [found] = re.findall(rf"^\| {name} \| ([0-9.]+) ±", sections[data], re.MULTILINE)
            assert figures[column - 1] == found, (method, data)


@pytest.mark.parametrize("path", sorted((ROOT / "conf").glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_is_valid(path):
    load_config(str(path))


@pytest.mark.parametrize("path", sorted((ROOT / "conf/compare").glob("*.yaml")), ids=lambda path: path.name)
def test_every_comparison_is_valid_with_all_its_candidates(path):
    plan = load_plan(str(path))
    for work in {(work.data, work.model, work.shared): work for work in works(plan)}.values():
        for settings in candidates(plan, work, "shared"):
            work.load(*settings)
        for specific in {*work.specific} - {"none"}:
            for settings in candidates(plan, work, specific):
                work.load(*settings, specific=specific)


def code_of(name):
    """The Python block that follows <!-- name --> in a page."""
    text = (ROOT / "docs/ml-engineer.md").read_text()
    return re.search(rf"<!-- {name} -->\n```python\n(.*?)```", text, re.DOTALL)[1]


def test_the_adapter_of_another_library_is_the_one_that_the_tests_train():
    assert (ROOT / "tests/support/rechub.py").read_text().endswith(code_of("rechub.py"))


@pytest.mark.parametrize(("name", "most_lines"), [("my_models.py", 60), ("my_frameworks.py", 80)])
def test_a_new_backbone_and_a_new_framework_are_short(name, most_lines):
    assert len(code_of(name).splitlines()) < most_lines


def test_the_exercises_train_as_they_stand(built, tmp_path, monkeypatch):
    for name in ("my_models.py", "my_frameworks.py"):
        (tmp_path / name).write_text(code_of(name))
    monkeypatch.syspath_prepend(tmp_path)
    config = built.config(
        built.copy(tmp_path), "model.name=my_models:TwoTower", "framework.name=my_frameworks:learn", "training.epochs=5"
    )
    summary = train(config)
    assert (summary["framework"], summary["model"]) == ("my_frameworks:learn", "my_models:TwoTower")
    assert summary["val_mean_domain_auc"] > 0.55
