"""DVC's command line in a child process, never its Python interface: what it prints, or its error."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from flows.running.code import environment_of
from flows.running.masking import masked


class DvcError(RuntimeError):
    """DVC, or a stage that it ran, failed; the message is theirs."""


DVC = [sys.executable, "-P", "-m", "dvc"]  # -P: no file of the project can stand in for a module of DVC's


def read(root: Path, *arguments: str) -> str:
    """The output of a read-only DVC command. Raises DvcError with its message where it fails."""
    done = attempt(root, *arguments)
    if done.returncode != 0:
        raise error_of(arguments, done)
    return done.stdout


def attempt(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(root, [*DVC, *arguments])


def run(root: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=root, env=environment(root), capture_output=True, text=True, check=False)


def error_of(arguments: Sequence[str], done: subprocess.CompletedProcess[str]) -> DvcError:
    said = [line.removeprefix("ERROR: ").strip() for line in done.stderr.splitlines() if line.strip()]
    name = next(argument for argument in arguments if not argument.startswith("-"))
    return DvcError(masked(f"dvc {name}: {' '.join(said) or f'exit code {done.returncode}'}"))


def environment(root: Path) -> dict[str, str]:
    """The environment of DVC's processes in the project at `root`.

    This Python is first on PATH, the code of the stages is found, output is not buffered, every host has one shell.
    """
    folder = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": os.pathsep.join([folder, os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        "DVC_NO_ANALYTICS": "1",
        "SHELL": "/bin/sh",
        **environment_of(root),
    }
