"""What the layout of the repository must keep."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("folder", ["pipelines", "training", "benchmarks"])
def test_no_module_beside_a_script_hides_one_of_pythons_own(folder):
    """Python looks for modules beside the script first: `import secrets` in NumPy would find ours."""
    names = {path.stem for path in (ROOT / folder).iterdir() if path.suffix == ".py" or path.is_dir()}
    assert names & sys.stdlib_module_names == set()
