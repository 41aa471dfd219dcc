"""The comments of a pull request, by GitHub's REST interface. It takes no picture: there is no way to upload one."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

NEEDED = ("GITHUB_REPOSITORY", "GITHUB_TOKEN", "PULL_REQUEST")
GITHUB = "https://api.github.com"
LONGEST = 65_536  # characters of a comment
PER_PAGE = 100


def upsert(body: str, environment: Mapping[str, str]) -> str:
    """Update the bot's comment that begins with the first line of `body`, or write it. Returns its address.

    Raises httpx.HTTPError where GitHub refuses or is out of reach.
    Source: docs.github.com/en/rest/issues/comments.
    """
    headers = {"Authorization": f"Bearer {environment['GITHUB_TOKEN']}", "Accept": "application/vnd.github+json"}
    root = f"{environment.get('GITHUB_API_URL') or GITHUB}/repos/{environment['GITHUB_REPOSITORY']}/issues"
    with httpx.Client(headers=headers, timeout=30) as client:
        comments = f"{root}/{int(environment['PULL_REQUEST'])}/comments"
        own = _find(client, comments, body.partition("\n")[0])
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
