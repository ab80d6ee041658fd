"""The wheel: it holds the packages and commands of the project, and the locked versions fit its requirements."""

import re
import zipfile
from importlib import metadata

from packaging.requirements import Requirement

from tests.support.jobs import REPOSITORY


def test_wheel_holds_packages_commands_and_licence(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [commands] = [archive.read(name).decode() for name in names if name.endswith("entry_points.txt")]
    packages = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert packages == {"pipelines", "sql", "training"}
    assert {"pipelines/py.typed", "training/py.typed"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert re.findall(r"^(\S+) =", commands, re.MULTILINE) == ["mamdr-run", "mamdr-train"]


def test_locked_versions_satisfy_every_extra():
    locked = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (REPOSITORY / "requirements.txt").read_text(), re.MULTILINE))
    locked["horovod"] = metadata.version("horovod")  # built by setup/horovod.sh
    requirements = [Requirement(line) for line in metadata.requires("mamdr")]
    assert {extra for line in requirements for extra in re.findall('"(.+)"', str(line.marker))} == {
        *("serve", "spark", "train", "dev")
    }
    for requirement in requirements:
        version = locked[re.sub(r"[-_.]+", "-", requirement.name).lower()]
        assert requirement.specifier.contains(version), requirement
