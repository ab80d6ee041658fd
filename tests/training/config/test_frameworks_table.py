"""One table of frameworks: names, keys, docs and the names of models follow from it."""

import ast
from dataclasses import fields, replace
from pathlib import Path

import pytest

from training.artifacts.model_names import shared_version, specific_version
from training.config import FrameworkConfig, load_config
from training.config.framework_settings import adaptation_settings, shared_settings
from training.config.frameworks import ADAPT, IN_NO_NAME, PAPER_NAMES, SHARED, SPECIFIC, framework_name, framework_pair
from training.config.frameworks_table import shared_table, specific_table
from training.frameworks.common.registry import find_shared, find_specific

REPOSITORY = Path(__file__).parents[3]
CONFIG = str(REPOSITORY / "conf" / "ml_latest_small.yaml")


def changed(value):
    """Another valid value of the same type."""
    return (
        {"float16": "float32", "float32": "float16"}[value]
        if isinstance(value, str)
        else (not value if isinstance(value, bool) else value * 2)
    )


@pytest.mark.parametrize("shared", SHARED)
def test_each_shared_framework_can_be_imported(shared):
    assert callable(find_shared(shared))


@pytest.mark.parametrize("kind", ADAPT)
def test_each_kind_of_adaptation_round_can_be_imported(kind):
    assert callable(find_specific(kind))


@pytest.mark.parametrize("specific", SPECIFIC)
@pytest.mark.parametrize("shared", SHARED)
def test_each_pair_has_a_name_that_stands_for_it(shared, specific):
    assert framework_pair(framework_name(shared, specific)) == (shared, specific)


def test_names_from_papers_stand_for_listed_frameworks():
    for shared, specific in PAPER_NAMES.values():
        assert shared in SHARED
        assert specific in SPECIFIC


@pytest.mark.parametrize("shared", SHARED)
def test_each_key_that_a_shared_framework_sees_changes_its_models_name(shared):
    config = load_config(CONFIG, [f"framework.name={shared}"])
    name = shared_version(config, 1)
    for key, value in shared_settings(config).values().items():
        other = replace(config, framework=replace(config.framework, **{key: changed(value)}))
        assert shared_version(other, 1) != name, key


@pytest.mark.parametrize("specific", [name for name in SPECIFIC if name != "none"])
def test_each_key_that_an_adaptation_sees_changes_its_name(specific):
    config = load_config(CONFIG, [f"framework.name=dn_{specific}"])
    name = specific_version(config, "dn-mlp", "epoch-1")
    for key, value in adaptation_settings(config).values().items():
        if key not in ("rounds", "seed"):
            other = replace(config, framework=replace(config.framework, **{key: changed(value)}))
            assert specific_version(other, "dn-mlp", "epoch-1") != name, key
    assert specific_version(replace(config, seed=1), "dn-mlp", "epoch-1") != name


def test_a_framework_cannot_read_a_key_that_its_entry_does_not_list():
    settings = shared_settings(load_config(CONFIG, ["framework.name=dn"]))
    assert settings.outer_lr > 0
    with pytest.raises(AttributeError, match='does not list the key "meta_lr"'):
        _ = settings.meta_lr
    with pytest.raises(AttributeError, match='does not list the key "subspace_rank"'):
        _ = adaptation_settings(load_config(CONFIG)).subspace_rank


def test_code_reads_keys_of_frameworks_by_their_settings_alone():
    """A key that is read from the config directly could influence a model without being in its name."""
    keys = {field.name for field in fields(FrameworkConfig)} - set(IN_NO_NAME)
    for path in (*(REPOSITORY / "training").rglob("*.py"), *(REPOSITORY / "pipelines").rglob("*.py")):
        if path.parent.name != "config":
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr in keys:
                    assert not ast.unparse(node.value).endswith("config.framework"), f"{path}:{node.lineno}"


@pytest.mark.parametrize("table", [shared_table, specific_table])
def test_the_docs_hold_the_table_of_frameworks(table):
    page = (REPOSITORY / "docs" / "ml-engineer.md").read_text()
    assert table() in page, "run `python -m training.config.frameworks_table` and paste its output"
