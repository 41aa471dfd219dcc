"""The release tags, as GTO makes and reads them."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gto import api
from gto.constants import Action, check_string_is_valid, fullname_re
from gto.exceptions import GTOException
from gto.tag import find, parse_name
from scmrepo.exceptions import SCMError
from scmrepo.git import Git

from flows.running import git

log = logging.getLogger("winnow")

MODEL, STAGE = "model", "production"
FIRST_VERSION = "v1.0.0"


def artifact(root: Path) -> str:
    """GTO's name for the model of the project at `root`: "model", or of a subfolder "projects/names:model".

    Raises ValueError for a folder whose name cannot be part of a tag.
    """
    folder = git.prefix(root).removesuffix("/")
    name = f"{folder}:{MODEL}" if folder else MODEL
    if not check_string_is_valid(name, regex=fullname_re):
        raise ValueError(
            f"{root}: a release's tag has the project's folder in its name, and '{folder}' cannot be there. Allowed:"
            " letters from a to z, digits, and . _ - /. Rename the folder."
        )
    return name


@contextlib.contextmanager
def registry(root: Path) -> Iterator[Git]:
    """The git repository as a GTO object. Errors that GTO raises inside become RuntimeErrors."""
    scm = Git(str(root))
    try:
        yield scm
    except (GTOException, SCMError) as error:
        raise RuntimeError(f"GTO: {' '.join(str(error).split())}") from error
    finally:
        scm.close()


def versions(root: Path) -> dict[str, str]:
    """Commit -> version."""
    with registry(root) as scm:
        return {tag.target: parse_name(tag.name)["version"] for tag in find(Action.REGISTER, artifact(root), scm=scm)}


def assignments(root: Path) -> list[tuple[str, str]]:
    """(tag, commit) of each assignment to production that was not withdrawn by hand (`gto deprecate`); oldest first."""
    with registry(root) as scm:
        tags = [(parse_name(tag.name), tag) for tag in find(name=artifact(root), stage=STAGE, scm=scm)]
    found: list[tuple[str, str]] = []
    for parsed, tag in sorted(tags, key=lambda pair: pair[0].get("counter", 0)):
        if parsed["action"] is Action.ASSIGN:
            found.append((tag.name, tag.target))
        else:
            found = [(name, commit) for name, commit in found if commit != tag.target]
    return found


def register(root: Path, commit: str) -> str:
    bump: dict[str, Any] = {"bump_minor": True} if versions(root) else {"version": FIRST_VERSION}
    name, email = git.user(root)  # GTO's libraries look elsewhere, and may make some up
    with registry(root) as scm:
        return api.register(scm, artifact(root), commit, author=name, author_email=email, **bump).version


def assign(root: Path, version: str, message: str) -> None:
    name, email = git.user(root)  # GTO's libraries look elsewhere, and may make some up
    with registry(root) as scm:
        newest = max((tag.tag_time for tag in find(name=artifact(root), stage=STAGE, scm=scm)), default=0)
        _wait_for_second_after(newest)
        api.assign(
            scm, artifact(root), STAGE, version=version, message=message, force=True, author=name, author_email=email
        )


def _wait_for_second_after(moment: int) -> None:
    """Wait until the second `moment` is over, or warn where that is far ahead.

    GTO and DVC order tags by their seconds: the next tag needs a later one, for the order to be the same there.
    """
    ahead = moment + 1 - time.time()
    if ahead > 1:
        log.warning(
            "The newest release tag is dated %.0f seconds ahead of this clock. Until then `dvc artifacts get --stage` "
            "and `gto show` give that one. Set the clock of the host that is wrong.",
            ahead,
        )
    else:
        time.sleep(max(0.0, ahead))
