"""Tests that names of frameworks match the registries and stand for pairs."""

import pytest

from training.config import framework_names
from training.frameworks import SHARED, SPECIFIC


def test_framework_names_match_the_registries():
    assert set(framework_names.SHARED) == set(SHARED)
    assert {part for name in framework_names.SPECIFIC if name != "none" for part in name.split("_")} == set(SPECIFIC)


@pytest.mark.parametrize("specific", framework_names.SPECIFIC)
@pytest.mark.parametrize("shared", framework_names.SHARED)
def test_framework_name_gives_back_its_pair(shared, specific):
    name = framework_names.framework_name(shared, specific)
    assert framework_names.framework_pair(name) == (shared, specific)


def test_paper_names_stand_for_pairs():
    for shared, specific in framework_names.PAPER_NAMES.values():
        assert shared in framework_names.SHARED
        assert specific in framework_names.SPECIFIC
