"""Put the review on its pull request as one comment, which later runs update: `python -m flows.review.comment FILE`.

Reads GITHUB_REPOSITORY, GITHUB_TOKEN and PULL_REQUEST, and GITHUB_API_URL where it is not GitHub's own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

import click
import httpx

from flows.review.pull_request import MARKED, mark
from flows.running import git
from flows.running.root import find_root

GITHUB = "https://api.github.com"
LONGEST = 65_536  # characters of a comment, GitHub's limit
PER_PAGE = 100
NO_REVIEW = """

## Winnow review: ❌ no review

> [!CAUTION]
> **The review failed, so nothing is known of this change.** The log of the check says why.
"""


def upsert(body: str, environment: Mapping[str, str]) -> str:
    """Update the comment that begins with the first line of `body`, or write it. Returns its address.

    Raises ValueError where a variable is missing or `body` begins with no mark of a review, and httpx.HTTPError where
    GitHub refuses or is out of reach.
    """
    for name in ("GITHUB_REPOSITORY", "GITHUB_TOKEN", "PULL_REQUEST"):
        if not environment.get(name):
            raise ValueError(f"{name} is not set. On GitHub the workflow sets it; elsewhere there is nobody to tell.")
    first_line = body.partition("\n")[0]
    if not MARKED.fullmatch(first_line):
        raise ValueError(f"the text begins with {first_line[:60]!r}, which is no review. Write one: winnow review.")
    headers = {"Authorization": f"Bearer {environment['GITHUB_TOKEN']}", "Accept": "application/vnd.github+json"}
    root = f"{environment.get('GITHUB_API_URL') or GITHUB}/repos/{environment['GITHUB_REPOSITORY']}/issues"
    with httpx.Client(headers=headers, timeout=30) as client:
        comments = f"{root}/{int(environment['PULL_REQUEST'])}/comments"
        own = _find(client, comments, first_line)
        content = {"body": body[:LONGEST]}
        answer = client.patch(f"{root}/comments/{own}", json=content) if own else client.post(comments, json=content)
        answer.raise_for_status()
        return str(answer.json().get("html_url", ""))


def _find(client: httpx.Client, comments: str, first_line: str) -> int | None:
    page = 1
    while True:
        answer = client.get(comments, params={"per_page": PER_PAGE, "page": page})
        answer.raise_for_status()
        found = answer.json()
        for comment in found:
            # Anybody may write the mark; only a bot's comment is taken for this one's.
            if str(comment.get("body", "")).startswith(first_line) and comment.get("user", {}).get("type") == "Bot":
                return int(comment["id"])
        if len(found) < PER_PAGE:
            return None
        page += 1


def _folder_of(file: Path) -> str:
    """The folder, in its repository, of the project that the file is of; empty where it is of none."""
    with contextlib.suppress(FileNotFoundError):
        return git.prefix(find_root(file.absolute().parent)).removesuffix("/")
    return ""


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def main(file: Path) -> None:
    """Put FILE, a review in Markdown, on its pull request; where there is none, that there is none.

    Else the comment on an earlier commit would stand as if it were of this one.
    """
    try:
        body = file.read_text(encoding="utf-8") if file.is_file() else f"{mark(_folder_of(file))}{NO_REVIEW}"
        click.echo(upsert(body, os.environ))
    except (ValueError, httpx.HTTPError) as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
