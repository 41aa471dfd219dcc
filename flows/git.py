"""The one place that runs git: always its command line, which never asks and never pages."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from flows.masking import masked

SECONDS = 600.0  # that a command may take: a remote that went silent would hold a schedule up for good


class GitError(RuntimeError):
    """git failed; the message is its own."""


def attempt(root: Path, *arguments: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run git in `root`, with `text` as its input, whatever becomes of it."""
    command = ["git", *arguments]
    try:
        return subprocess.run(
            command,
            cwd=root,
            env=environment_of(**environment),
            input=text,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"timed out after {SECONDS:.0f} s")


def environment_of(**more: str) -> dict[str, str]:
    """A child's environment: git asks nothing, and speaks English."""
    return {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8", **more}


def read(root: Path, *arguments: str, text: str = "", **environment: str) -> str:
    """What git prints, without the white space around it. Raises GitError with git's words where it fails."""
    done = attempt(root, *arguments, text=text, **environment)
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        settings = 2 * arguments.count("-c")  # "-c name=value" before the command
        raise GitError(masked(f"git {arguments[settings]}: {said}"))
    return done.stdout.strip()


def commit_of(root: Path, name: str, *, short: bool = False) -> str:
    """The commit that `name` stands for. Raises ValueError where git knows none."""
    length = ["--short"] if short else []
    done = attempt(root, "rev-parse", "--verify", "--quiet", *length, "--end-of-options", f"{name}^{{commit}}")
    if done.returncode != 0:
        raise ValueError(
            f"git knows no revision '{name}'. Allowed: a branch, a tag or a commit. `git fetch` gets more."
        )
    return done.stdout.strip()


def branch(root: Path) -> str | None:
    """The branch that is checked out; None where HEAD is detached."""
    return attempt(root, "symbolic-ref", "--quiet", "--short", "HEAD").stdout.strip() or None


def has_origin(root: Path) -> bool:
    """Whether there is a remote named origin."""
    return "origin" in attempt(root, "remote").stdout.split()


def identity(root: Path) -> dict[str, str]:
    """What a child needs to commit and to tag: nothing where git knows who its user is."""
    if attempt(root, "var", "GIT_COMMITTER_IDENT").returncode == 0:
        return {}
    names = {"NAME": "Winnow", "EMAIL": "winnow@localhost"}
    return {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in names.items()}
