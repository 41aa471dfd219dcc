"""The only place that runs git, by its command line, without prompts and pagers."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from flows.running.masking import masked

PLAIN = ("-c", "log.showSignature=false")  # settings of a user's that put lines of their own into what is read
SECONDS = 600.0  # for a command: a remote that went silent would block a schedule for good


class GitError(RuntimeError):
    """git failed; the message is its own."""


def attempt(root: Path, *arguments: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run git in `root`, with `text` as its input, whether it succeeds or fails."""
    command = ["git", *PLAIN, *arguments]
    try:
        return subprocess.run(
            command,
            cwd=root,
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8", **environment},
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


def read(root: Path, *arguments: str, text: str = "", **environment: str) -> str:
    """The output of git, stripped of white space. Raises GitError with git's words where it fails."""
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
        require_repository(root)
        more = lacking(root) or " `git fetch` gets more."
        raise ValueError(f"git knows no revision '{name}'. Allowed: a branch, a tag or a commit.{more}")
    return done.stdout.strip()


def in_repository(root: Path) -> bool:
    """Whether `root` lies in a git repository, be it one that git refuses."""
    return "GIT_DIR" in os.environ or any((folder / ".git").exists() for folder in (root, *root.parents))


def require_repository(root: Path) -> None:
    """Raise ValueError where `root` is in no git repository, without which DVC runs nothing."""
    if not in_repository(root):
        raise ValueError(
            f"{root} is in no git repository, and DVC needs one. Make it one: "
            "`git init && git add . && git commit -m start`; or clone instead of unpacking an archive."
        )


def lacking(root: Path) -> str:
    """How to get the history that a shallow clone lacks, as a sentence; empty where nothing is lacking."""
    shallow = attempt(root, "rev-parse", "--is-shallow-repository").stdout.strip() == "true"
    return " This clone is shallow: `git fetch --unshallow` gets its history." if shallow else ""


def prefix(root: Path) -> str:
    """The path of the folder `root` from git's top folder, with a slash at its end; empty for that itself."""
    return attempt(root, "rev-parse", "--show-prefix").stdout.strip()


def branch(root: Path) -> str | None:
    """The branch that is checked out; None where HEAD is detached."""
    return attempt(root, "symbolic-ref", "--quiet", "--short", "HEAD").stdout.strip() or None


def has_origin(root: Path) -> bool:
    """Whether there is a remote named origin."""
    return "origin" in attempt(root, "remote").stdout.split()


def user(root: Path) -> tuple[str, str]:
    """Name and address for commits and tags made here, as configured in git, which must not make them up."""
    told = attempt(root, "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT").stdout
    found = re.match(r"(.+) <(.+)> ", told)
    return (found[1], found[2]) if found else ("Winnow", "winnow@localhost")


def identity(root: Path) -> dict[str, str]:
    """The environment in which child processes commit as `user`."""
    values = dict(zip(("NAME", "EMAIL"), user(root), strict=True))
    return {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in values.items()}
