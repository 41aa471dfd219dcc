"""What `make help` and `make setup` say."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from conftest import REPOSITORY


def made(folder: Path, *arguments: str) -> list[str]:
    """The lines of `make`, where .venv is ready."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copyfile(REPOSITORY / name, folder / name)
    command = ["make", "--no-print-directory", "-o", ".venv/.ready", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.splitlines()


def test_the_help_is_aligned_and_has_what_users_need_first(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    lines = made(tmp_path, "help")
    found = [match for line in lines if (match := re.fullmatch(r"(  make ([a-z-]+) +)\S.*", line))]
    assert {len(match[1]) for match in found} == {len("  make ") + 15 + 2}
    names = [match[2] for match in found]
    assert names[:3] == ["setup", "repro", "test"]
    described = re.findall(r"^([a-z-]+):.*## ", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.M)
    assert sorted(names) == sorted(described)
    assert lines.index("For those who change Winnow itself:") < lines.index(found[names.index("mutants")][0])


def test_setup_says_what_is_next(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/.ready").touch()
    assert "source .venv/bin/activate; winnow init FOLDER --data FILE" in made(tmp_path, "setup")[-1]
