"""Put the review on its pull or merge request, as one comment that later runs update: this module with `python -m`.

On GitHub it reads GITHUB_REPOSITORY, GITHUB_TOKEN and PULL_REQUEST, and GITHUB_API_URL where it is not GitHub's own. On
GitLab, where the runner sets GITLAB_CI, it reads GITLAB_TOKEN and what the runner says of the merge request.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import httpx

from flows.review import on_github, on_gitlab
from flows.review.pull_request import MARKED, mark
from flows.running import git
from flows.running.root import find_root

NO_REVIEW = """

## Winnow review: ❌ no review

> [!CAUTION]
> **The review failed, so nothing is known of this change.** The log of the check says why.
"""


def upsert(body: str, environment: Mapping[str, str], pictures: Sequence[Path] = ()) -> str:
    """Update the comment that begins with the first line of `body`, or write it. Returns its address.

    `pictures` are shown where the platform takes some. Raises ValueError where a variable is missing or `body` begins
    with no mark of a review, and httpx.HTTPError where the platform refuses or is out of reach.
    """
    is_gitlab = bool(environment.get("GITLAB_CI"))
    for name in on_gitlab.NEEDED if is_gitlab else on_github.NEEDED:
        if not environment.get(name):
            raise ValueError(
                f"{name} is not set. On GitHub and GitLab the workflow sets it; elsewhere there is nobody to tell."
            )
    first_line = body.partition("\n")[0]
    if not MARKED.fullmatch(first_line):
        raise ValueError(f"the text begins with {first_line[:60]!r}, which is no review. Write one: winnow review.")
    if is_gitlab:
        return on_gitlab.upsert(body, environment, pictures)
    return on_github.upsert(body, environment)


def _folder_of(file: Path) -> str:
    """The folder, in its repository, of the project that the file is of; empty where it is of none."""
    with contextlib.suppress(FileNotFoundError):
        return git.prefix(find_root(file.absolute().parent)).removesuffix("/")
    return ""


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def main(file: Path) -> None:
    """Put FILE, a review in Markdown, on its request; where there is none, that there is none.

    Else the comment on an earlier commit would stand as if it were of this one. PNG files beside FILE, which
    `winnow review --pictures` writes, go with it where the platform takes pictures.
    """
    try:
        is_there = file.is_file()
        body = file.read_text(encoding="utf-8") if is_there else f"{mark(_folder_of(file))}{NO_REVIEW}"
        click.echo(upsert(body, os.environ, sorted(file.parent.glob("*.png")) if is_there else ()))
    except (ValueError, httpx.HTTPError) as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
