"""Skips that .ci/run fails for (tests/skips.py), each with pytest itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import skips
from conftest import REPOSITORY

SKIPPED = """
import pytest

def test_fine(): pass
def test_of_a_page(): pytest.skip("there is no chromium")
def test_of_fp16(): pytest.skip("finetune.precision is 'fp16', in which this device does not train.")
"""
MODULE = "import pytest\npytest.skip('playwright is not installed', allow_module_level=True)\n"


def ran(folder: Path, content: str, *options: str) -> tuple[int, str]:
    (folder / "test_it.py").write_text(content)
    (folder / "test_module.py").write_text(MODULE)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "skips", "-p", "xdist", *options, "test_it.py", "test_module.py"]
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["alone", "workers"])
def test_skips_that_are_not_allowed_fail_where_it_is_asked_for(tmp_path: Path, options: tuple[str, ...]) -> None:
    code, said = ran(tmp_path, SKIPPED, "--only-allowed-skips", *options)
    assert code == 1
    told = said.partition(".ci/run fails for these")[2]
    assert "there is no chromium" in told
    assert "playwright is not installed" in told
    assert "fp16" not in told


def test_elsewhere_they_are_only_told(tmp_path: Path) -> None:
    code, said = ran(tmp_path, SKIPPED)
    assert code == 0
    assert "there is no chromium" in said.partition(".ci/run fails for these")[2]


def test_an_allowed_skip_is_not_told() -> None:
    told = [
        ("test_a.py", 3, "Skipped: torchao is not installed: `make test-torchao` runs this"),
        ("a/test_b.py", 4, "why"),
    ]
    assert skips.unexpected(SimpleNamespace(longrepr=one) for one in told) == ["test_b.py:4: why"]


def test_what_is_allowed_has_its_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert skips.allowed_reasons()
    monkeypatch.setattr(skips, "ALLOWED", tmp_path / "allowed.txt")
    skips.ALLOWED.write_text("there is no chromium\n")
    with pytest.raises(ValueError, match="WHY IT MAY BE"):
        skips.allowed_reasons()


def test_ci_asks_for_it() -> None:
    assert "--only-allowed-skips" in (REPOSITORY / ".ci/run").read_text()
