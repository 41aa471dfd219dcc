"""The notes of a merge request, by GitLab's REST interface, with pictures, which it takes as uploads of the project."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

NEEDED = ("CI_API_V4_URL", "CI_MERGE_REQUEST_PROJECT_ID", "CI_MERGE_REQUEST_IID", "GITLAB_TOKEN")
LONGEST = 1_000_000  # characters of a note
PER_PAGE = 100
REFUSED = (401, 403)


def upsert(body: str, environment: Mapping[str, str], pictures: Sequence[Path] = ()) -> str:
    """Update the token's own note that begins with the first line of `body`, or write it. Returns its address.

    `pictures`, PNG files, stand at its end; one that the note has already is not uploaded again. Raises ValueError
    where the token may not do that, and httpx.HTTPError where GitLab refuses otherwise or is out of reach.
    Source: docs.gitlab.com/api/notes, docs.gitlab.com/api/project_markdown_uploads, docs.gitlab.com/api/rest.
    """
    request = f"merge_requests/{int(environment['CI_MERGE_REQUEST_IID'])}"
    project = f"{environment['CI_API_V4_URL']}/projects/{int(environment['CI_MERGE_REQUEST_PROJECT_ID'])}"
    with httpx.Client(headers={"PRIVATE-TOKEN": environment["GITLAB_TOKEN"]}, timeout=30) as client:
        author = _answered(client.get(f"{environment['CI_API_V4_URL']}/user"))["id"]
        notes = f"{project}/{request}/notes"
        own = _find(client, notes, body.partition("\n")[0], author)
        links = [_link(client, project, picture, str(own["body"]) if own else "") for picture in pictures]
        shown = "\n\n".join(links)
        content = {"body": f"{body[: LONGEST - len(shown) - 2].rstrip()}\n\n{shown}".rstrip()}
        answer = client.put(f"{notes}/{own['id']}", json=content) if own else client.post(notes, json=content)
        note = _answered(answer)["id"]
    web = environment.get("CI_MERGE_REQUEST_PROJECT_URL", "")
    return f"{web}/-/{request}#note_{note}"


def _find(client: httpx.Client, notes: str, first_line: str, author: int) -> dict[str, Any] | None:
    """The note of this author that begins so: anybody may write the mark, and only the token's own can be changed."""
    for note in _every(client, notes):
        if note.get("author", {}).get("id") == author and str(note.get("body", "")).startswith(first_line):
            return note
    return None


def _every(client: httpx.Client, notes: str) -> Iterator[dict[str, Any]]:
    """All notes, oldest first, page by page; on the last one the header that names the next is empty."""
    page = "1"
    while page:
        answer = client.get(notes, params={"sort": "asc", "per_page": PER_PAGE, "page": page})
        yield from _answered(answer)
        page = answer.headers.get("x-next-page", "")


def _link(client: httpx.Client, project: str, picture: Path, body: str) -> str:
    """The Markdown of a picture: that of the note, by the hash in the file's name, or of an upload."""
    content = picture.read_bytes()
    name = f"{picture.stem}-{hashlib.sha256(content).hexdigest()[:12]}.png"
    if known := re.search(rf"!\[[^\]\n]*\]\(/uploads/[0-9a-f]+/{re.escape(name)}\)", body):
        return known[0]
    uploaded = _answered(client.post(f"{project}/uploads", files={"file": (name, content, "image/png")}))
    return f"![{picture.stem}]({uploaded['url']})"


def _answered(answer: httpx.Response) -> Any:
    """The content of an answer. Raises ValueError where the token is refused, httpx.HTTPError for other refusals."""
    if answer.status_code in REFUSED:
        asked = f"{answer.request.method} {answer.request.url.path}"
        raise ValueError(
            f"GitLab refuses GITLAB_TOKEN ({answer.status_code} for {asked}). "
            "It takes a project access token with the scope api and the role Reporter or more; CI_JOB_TOKEN may not."
        )
    answer.raise_for_status()
    return answer.json()
