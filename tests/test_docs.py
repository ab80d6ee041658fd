"""Checks the docs: commands run, links lead somewhere, figures equal those of the reports, sentences are short."""

import ast
import builtins
import json
import re
import shlex
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from training.compare.plan import candidates, load_plan, work_units
from training.config import load_config
from training.train import train

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "docs/results/README.md",
    ROOT / "docs/results/analyses/README.md",
    *sorted((ROOT / "benchmarks").glob("*.md")),
]
SMALL = ["data.domains=[Comedy,Drama,Western]", "training.epochs=1", "framework.dr_rounds=1", "framework.stop_group=2"]
MOST_LINES, MOST_WORDS = 120, 30
METHODS = {  # the rows of docs/results.md, as the reports name them
    "MLP, joint training": "mlp+joint",
    "MLP, alternate training": "mlp+alternate",
    "MLP, DN": "mlp+dn",
    "MLP, DN with finetuning": "mlp+dn_finetune",
    "MLP, MAMDR with finetuning": "mlp+mamdr_finetune",
    "Shared-bottom, joint training": "shared_bottom+joint",
    "item popularity, no model": "popularity",
    "Shared-bottom": "shared_bottom+joint",
    "MMoE": "mmoe+joint",
    "PLE": "ple+joint",
    "STAR": "star+joint",
}
MODULES_OF_EXAMPLES = (  # with the names that the examples of CONTRIBUTING.md import
    "pipelines.sources.amazon",
    "pipelines.sources.files",
    "training.frameworks",
    "training.frameworks.specific.dr",
    "training.models.mlp",
)


def commands_of(page):
    """Returns the lines of the page's bash blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def demo_commands():
    """Returns the demo's commands, in the order of the README."""
    return [line for line in commands_of(README) if "--config conf/ml_latest_small.yaml" in line]


def table_after(marker, page):
    """Returns the rows of the table that follows <!-- marker --> in a page, without its header, as lists of cells."""
    lines = page.read_text().split(f"<!-- {marker} -->\n")[1].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines][2:]


def report_tables(name):
    """Returns the first table of each data set in the report docs/results/NAME: a dict by method of dicts by column."""
    tables = {}
    for section in (ROOT / "docs/results" / name / "README.md").read_text().split("\n## ")[1:]:
        lines = [line for line in section.split("\n\n") if line.startswith("| method")][0].splitlines()
        header, _, *rows = [[cell.strip().replace("\\", "") for cell in line.strip("|").split("|")] for line in lines]
        tables[section.split(":")[0]] = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    return tables


def sentences_of(page):
    """Returns the sentences of a page's paragraphs and list items; headings, tables and code blocks are left out."""
    text = re.sub(r"```.*?```", "\n\n", page.read_text(), flags=re.DOTALL)
    text = re.sub(r"^(#.*|\|.*|<!--.*)$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    blocks = re.split(r"\n\s*\n|\n\s*(?:[-*]|\d+\.) ", text)
    return [
        sentence for block in blocks for sentence in re.split(r"(?<=[.!?])\s+", " ".join(block.split())) if sentence
    ]


def slugs_of(page):
    """Returns the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_demo_runs_the_commands_of_the_readme():
    demo = (ROOT / "Makefile").read_text().split("demo: setup")[1].split("\n\n")[0]
    lines = [
        line.strip().lstrip("@").split(" > ")[0].replace("$(CONF)", "conf/ml_latest_small.yaml")
        for line in demo.splitlines()
    ]
    assert [line for line in lines if "--config" in line] == demo_commands()


def test_commands_of_the_readme_run(tmp_path):
    """Runs them on three domains for one epoch; each must end with its summary."""
    summaries = []
    for command in demo_commands():
        words = shlex.split(command) + [f"root={tmp_path}", *SMALL]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, done.stderr[-3000:]
        summaries.append(json.loads(done.stdout.splitlines()[-1].removeprefix("[0]<stdout>:")))
    build, train, longtail, scores, joint, evaluation_of_joint, evaluation, page = summaries
    assert build["rows_in"] == build["rows_kept"] + build["rows_rejected"] + build["rows_duplicate"]
    assert (build["domains"], train["ranks"], train["framework"]) == (3, 2, "mamdr")
    assert longtail["domains"] + longtail["domains_skipped"] == 1
    assert joint["framework"] == "joint"
    assert list(evaluation_of_joint["models"]) == ["joint", "popularity"]
    assert list(evaluation["models"]) == ["dn", "mamdr", "popularity"]
    assert (scores["domains"], scores["requests_rejected"]) == (3, 0)
    assert scores["requests"] < scores["rows"] <= 10 * scores["requests"]
    assert "Quality on test rows" in Path(page["report"]).read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_name_files_and_keys_that_exist(page):
    for command in commands_of(page):
        words = shlex.split(command.split("#")[0])
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), command
        for word in words:
            if word.endswith((".py", ".yaml")):
                assert (ROOT / word).exists(), command
        if "--config" in words:
            path, *settings = words[words.index("--config") + 1 :]
            load = load_plan if "training.compare" in words else load_config
            load(str(ROOT / path), settings)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_a_file_and_a_heading(page):
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]+))?\)", page.read_text()):
        file = page.parent / target if target else page
        assert file.exists(), target
        assert not anchor or anchor in slugs_of(file), f"{target}#{anchor}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_named_files_and_folders_exist(page):
    paths = re.findall(r"`((?:training|pipelines|sql|conf|tests|benchmarks)/[\w./]+)`", page.read_text())
    assert [path for path in paths if "NAME" not in path and not (ROOT / path).exists()] == []


def test_readme_is_short():
    assert len(README.read_text().splitlines()) < MOST_LINES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_sentences_are_short(page):
    assert [sentence for sentence in sentences_of(page) if len(sentence.split()) > MOST_WORDS] == []


def test_every_fault_names_an_existing_test():
    tests = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs/faults.md").read_text())
    assert named
    assert [name for name in named if f"def {name}(" not in tests] == []


def test_readme_shows_the_quality_table_of_the_benchmark():
    rows = [line for line in (ROOT / "benchmarks/quality.md").read_text().splitlines() if "±" in line and "|" in line]
    measured = [[cell.strip() for cell in line.strip("|").split("|")] for line in rows]
    assert table_after("quality", README) == measured


def test_results_page_shows_table_x_of_the_report():
    report = report_tables("table_x")
    for method, *figures in table_after("table_x", ROOT / "docs/results.md"):
        name = method if method == "linear" else f"mlp+{method}"
        data_sets = ("ml_latest_small", "ml_1m_genre", "planted", "planted_0")
        assert figures == [report[data][name]["mean-domain AUC"].split()[0] for data in data_sets], method


@pytest.mark.parametrize(
    ("name", "data", "column"),
    [
        ("official_splits", "amazon5", "mean-domain AUC"),
        ("official_ciao", "ciao", "mean-domain AUC"),
        ("scenario_wise", "ml_1m", "AUC of all rows"),
    ],
)
def test_results_page_shows_the_figures_of_the_report(name, data, column):
    report = report_tables(name)[data]
    rows = table_after(name, ROOT / "docs/results.md")
    assert {method: f"0{figure}" for method, figure, _ in rows} == {
        method: report[METHODS[method]][column].split()[0] for method, *_ in rows
    }


@pytest.mark.parametrize("path", sorted((ROOT / "conf").glob("*.yaml")), ids=lambda path: path.name)
def test_config_file_loads(path):
    load_config(str(path))


@pytest.mark.parametrize("path", sorted((ROOT / "conf/compare").glob("*.yaml")), ids=lambda path: path.name)
def test_comparison_file_loads_with_all_its_candidates(path):
    plan = load_plan(str(path))
    for work in {(work.data, work.model, work.shared): work for work in work_units(plan)}.values():
        for settings in candidates(plan, work, "shared"):
            work.load(*settings)
        for specific in {*work.specific} - {"none"}:
            for settings in candidates(plan, work, specific):
                work.load(*settings, specific=specific)


def code_of(name):
    """Returns the Python block that follows <!-- name --> in docs/ml-engineer.md."""
    text = (ROOT / "docs/ml-engineer.md").read_text()
    return re.search(rf"<!-- {name} -->\n```python\n(.*?)```", text, re.DOTALL)[1]


def test_adapter_of_another_library_is_the_one_that_tests_train():
    assert (ROOT / "tests/support/rechub.py").read_text().endswith(code_of("rechub.py"))


@pytest.mark.parametrize(("name", "most_lines"), [("my_models.py", 60), ("my_frameworks.py", 80)])
def test_example_backbone_and_framework_are_short(name, most_lines):
    assert len(code_of(name).splitlines()) < most_lines


def test_example_backbone_and_framework_train(built, tmp_path, monkeypatch):
    for name in ("my_models.py", "my_frameworks.py"):
        (tmp_path / name).write_text(code_of(name))
    monkeypatch.syspath_prepend(tmp_path)
    config = built.config(
        built.copy(tmp_path), "model.name=my_models:TwoTower", "framework.name=my_frameworks:learn", "training.epochs=5"
    )
    summary = train(config)
    assert (summary["framework"], summary["model"]) == ("my_frameworks:learn", "my_models:TwoTower")
    assert summary["val_mean_domain_auc"] > 0.55


def test_examples_of_the_contributing_guide_use_names_that_exist():
    source = "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL))
    namespace = {name: value for module in MODULES_OF_EXAMPLES for name, value in vars(import_module(module)).items()}
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    assert len(functions) == 5
    exec(compile(source, "CONTRIBUTING.md", "exec"), namespace)  # resolves annotations and base classes
    for function in functions:
        annotations = {argument.arg: argument.annotation for argument in function.args.args}
        names = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
        local = {node.id for node in names if isinstance(node.ctx, ast.Store)} | set(annotations) | set(dir(builtins))
        assert {node.id for node in names} - local <= set(namespace)
        called = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
        for method in called:
            if isinstance(method, ast.Attribute) and annotations.get(getattr(method.value, "id", None)):
                owner = eval(ast.unparse(annotations[method.value.id]), namespace)
                assert hasattr(owner, method.attr), ast.unparse(method)
