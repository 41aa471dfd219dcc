"""Helpers shared by the commands: the project's root, the Prefect server, JSON output."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click


def root_here() -> Path:
    """The project around the current folder. Raises FileNotFoundError where there is none."""
    from flows.running.code import link_code
    from flows.running.root import find_root

    root = find_root(Path.cwd())
    link_code(root)
    return root


def checked_root() -> Path:
    """The project's root, where its params.yaml is right. Raises ValueError with a line a mistake."""
    root = root_here()
    from flows.cli.mistakes import mistakes
    from flows.running.git import require_repository
    from stages.core.params.file import load_params

    if not _without_git(root):
        require_repository(root)
    found = list(mistakes(root, load_params(root / "params.yaml")))
    if found:
        raise ValueError("\n".join(found))
    return root


def _without_git(root: Path) -> bool:
    """Whether DVC was told to do without git (`dvc init --no-scm`)."""
    from configobj import ConfigObj

    files = (ConfigObj(str(root / ".dvc" / name), interpolation=False) for name in ("config", "config.local"))
    return any(file.get("core", {}).get("no_scm", "").lower() == "true" for file in files)


def use_server() -> None:
    """Use the Prefect server that answers, so that its page shows the run; otherwise Prefect starts one for this run.

    Raises ConnectionError where one was named and does not answer, PermissionError where one was named, or a password
    given, and it wants another. A server that nobody named and that wants another password is not used: it belongs to
    somebody else on the same machine.
    """
    from flows.serving import server

    try:
        server.connect()
    except (ConnectionError, server.OtherPasswordError) as error:
        if os.environ.get("PREFECT_API_URL"):
            raise
        if isinstance(error, server.OtherPasswordError):
            if os.environ.get("PREFECT_API_AUTH_STRING"):
                raise
            click.echo(f"winnow: {error} Until then a temporary server is used.", err=True)
        server.guard_temporary_server()


def print_json(content: Any) -> None:
    """Print the content as JSON on standard output, with letters of any script unescaped."""
    import json

    click.echo(json.dumps(content, indent=2, ensure_ascii=False))
