"""The distribution: its name, what messages tell to install, and importing it from wherever somebody stands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from itertools import chain
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, run
from flow_fixtures import winnow
from packaging.requirements import Requirement

from flows import __version__
from flows.running.packages import canonical
from flows.runtime.build import pins
from stages.core.plugins import install_extra

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BUILT = ("pyproject.toml", "README.md", "LICENSE", "winnow.py", "flows", "stages")


def test_nothing_tells_anybody_to_install_the_package_called_winnow_from_the_index() -> None:
    listed = run(REPOSITORY, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").stdout
    by_name = re.compile(r"winnow\[|pip3? install[^\n`]*[ '\"]winnow(?![\w-])")
    told = []
    for name in filter(None, listed.split("\0")):
        path = REPOSITORY / name
        if path.is_file() and path != Path(__file__) and by_name.search(path.read_text(errors="replace")):
            told.append(name)
    assert told == []


def test_the_distribution_is_not_called_like_the_strangers_and_the_command_is_as_before() -> None:
    assert PROJECT["name"] == "winnow-pipeline"
    assert PROJECT["scripts"] == {"winnow": "flows.cli:main"}


@pytest.mark.parametrize("extra", ["labels", "languages", "ray", "s3"])
def test_extras_are_installed_from_the_checkout_with_its_pins(extra: str) -> None:
    assert install_extra(extra) == f".venv/bin/pip install --constraint constraints.txt --editable '.[{extra}]'"
    assert extra in PROJECT["optional-dependencies"]


def test_every_package_that_is_asked_for_is_pinned() -> None:
    asked = [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]
    assert {canonical(Requirement(one).name) for one in asked} <= pins(REPOSITORY).keys()


def test_ci_runs_every_python_that_is_promised() -> None:
    job = yaml.safe_load((REPOSITORY / ".github/workflows/test.yml").read_text(encoding="utf-8"))["jobs"]["test"]
    versions = job["strategy"]["matrix"]["python"]
    assert PROJECT["requires-python"] == f">={versions[0]}"
    assert f"Python {', '.join(versions[:-1])} or {versions[-1]}" in (REPOSITORY / "README.md").read_text()
    assert [step["with"]["python-version"] for step in job["steps"] if "python-version" in step.get("with", {})] == [
        "${{ matrix.python }}"
    ]


def test_the_version_is_told_whatever_the_distribution_is_called(tmp_path: Path) -> None:
    assert winnow(tmp_path, "--version").stdout == f"winnow {__version__}\n"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone called winnow, in a folder where somebody works."""
    folder = tmp_path_factory.mktemp("work") / "winnow"
    folder.mkdir()
    for name in BUILT:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, folder / name)
    return folder


@pytest.mark.parametrize("how", ["editable", "wheel"])
def test_load_is_imported_from_any_folder_also_beside_a_clone_called_winnow(
    clone: Path, tmp_path: Path, how: str
) -> None:
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    packages = next((tmp_path / "venv/lib").glob("python*/site-packages"))
    # What Winnow needs comes from this environment, whose own installation of Winnow does not: .pth files in it are
    # not read.
    (packages / "zz-dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    build = f"from setuptools.build_meta import build_{how} as build; print(build({str(tmp_path)!r}))"
    wheel = run(clone, sys.executable, "-c", build).stdout.split()[-1]
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    run(tmp_path, *pip, wheel)
    found = "import winnow, stages, flows; from winnow import load; print(winnow.__file__)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for folder in (clone.parent, tmp_path, clone):
        done = subprocess.run(
            [python, "-c", found], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        expected = clone if how == "editable" or folder == clone else packages
        assert Path(done.stdout.strip()) == expected / "winnow.py"
    assert run(tmp_path, str(tmp_path / "venv/bin/winnow"), "--version").stdout == f"winnow {__version__}\n"
