"""The review as a note of a merge request, against a server that answers as GitLab's documentation says it does.

docs.gitlab.com/api/notes, /api/project_markdown_uploads, /api/rest (pagination), /api/users (the current user).
"""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from email import policy
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from conftest import REPOSITORY
from review_fixtures import empty_review, example_review

from flows.review import comment, pictures
from flows.review.pull_request import mark

TOKEN, BOT = "glpat-the-token", 77
NOTES = "/api/v4/projects/5/merge_requests/7/notes"
MARK = mark("")


class GitLab(BaseHTTPRequestHandler):
    """What GitLab offers to the one merge request that there is."""

    notes: dict[int, dict[str, Any]]
    uploads: list[str]
    asked: list[str]

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, content: Any, code: int = 200, **headers: str) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def given(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def handle_as(self, found: Callable[[str, dict[str, str]], None]) -> None:
        address = urlsplit(self.path)
        self.asked.append(f"{self.command} {address.path}")
        if self.headers.get("PRIVATE-TOKEN") != TOKEN:
            self.given()
            self.answer({"message": "401 Unauthorized"}, 401)
        else:
            found(address.path, {name: values[0] for name, values in parse_qs(address.query).items()})

    def do_GET(self) -> None:
        self.handle_as(self.got)

    def got(self, path: str, query: dict[str, str]) -> None:
        if path == "/api/v4/user":
            self.answer({"id": BOT, "username": "project_5_bot_1", "bot": True})
        elif path == NOTES:
            page, size = int(query.get("page", 1)), int(query.get("per_page", 20))
            every = sorted(self.notes.values(), key=lambda note: note["id"], reverse=query.get("sort") != "asc")
            more = str(page + 1) if len(every) > page * size else ""
            self.answer(every[(page - 1) * size : page * size], x_next_page=more)
        else:
            self.answer({"message": "404 Project Not Found"}, 404)

    def do_POST(self) -> None:
        self.handle_as(self.posted)

    def posted(self, path: str, _: dict[str, str]) -> None:
        if path == "/api/v4/projects/5/uploads":
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            (part,) = BytesParser(policy=policy.default).parsebytes(head + self.given()).iter_parts()
            assert part.get_param("name", header="content-disposition") == "file"
            name = str(part.get_filename())
            self.uploads.append(name)
            link = f"/uploads/{len(self.uploads):032x}/{name}"
            self.answer({"id": 5, "alt": name, "url": link, "markdown": f"![{name}]({link})"}, 201)
        elif path == NOTES:
            number = max(self.notes, default=0) + 1
            self.notes[number] = note(number, json.loads(self.given())["body"], BOT)
            self.answer(self.notes[number], 201)
        else:
            self.given()
            self.answer({"message": "404 Project Not Found"}, 404)

    def do_PUT(self) -> None:
        self.handle_as(self.changed)

    def changed(self, path: str, _: dict[str, str]) -> None:
        found = self.notes[int(path.removeprefix(f"{NOTES}/"))]
        body = json.loads(self.given())["body"]
        if found["author"]["id"] != BOT:
            self.answer({"message": "403 Forbidden"}, 403)
        else:
            found["body"] = body
            self.answer(found)


def note(number: int, body: str, author: int) -> dict[str, Any]:
    return {"id": number, "body": body, "author": {"id": author}, "system": False, "resolvable": False}


@pytest.fixture
def gitlab() -> Iterator[tuple[dict[str, str], type[GitLab]]]:
    """The variables of a runner whose GitLab is on this machine, and that GitLab."""
    handler = type("Handler", (GitLab,), {"notes": {}, "uploads": [], "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield (
        {
            "GITLAB_CI": "true",
            "CI_API_V4_URL": f"http://127.0.0.1:{server.server_port}/api/v4",
            "CI_MERGE_REQUEST_PROJECT_ID": "5",
            "CI_MERGE_REQUEST_PROJECT_URL": "https://gitlab.example/a/b",
            "CI_MERGE_REQUEST_IID": "7",
            "GITLAB_TOKEN": TOKEN,
        },
        handler,
    )
    server.shutdown()
    server.server_close()


Server = tuple[dict[str, str], type[GitLab]]


def test_the_note_is_written_once_and_then_updated_and_only_its_own_is_taken_for_it(
    gitlab: Server, tmp_path: Path
) -> None:
    environment, server = gitlab
    server.notes |= {number: note(number, "talk", 1) for number in range(1, 131)}
    server.notes[131] = note(131, f"{MARK}\nmine, says somebody", 1)
    file = tmp_path / "review.md"
    command = [sys.executable, "-m", "flows.review.comment", str(file)]
    for text in ("first", "second"):
        file.write_text(f"{MARK}\n{text}")
        done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "https://gitlab.example/a/b/-/merge_requests/7#note_132"
        assert TOKEN not in done.stdout + done.stderr
    assert len(server.notes) == 132
    assert server.notes[132]["body"] == f"{MARK}\nsecond"
    assert [line.partition(" ")[0] for line in server.asked] == [
        "GET",
        "GET",
        "GET",
        "POST",
        "GET",
        "GET",
        "GET",
        "PUT",
    ]
    file.unlink()  # the review of a later commit failed: what was said of an earlier one must not stand
    subprocess.run(command, env={**os.environ, **environment}, capture_output=True, check=True)
    assert server.notes[132]["body"] == (MARK + comment.NO_REVIEW).rstrip()


def test_each_project_has_a_note_of_its_own(gitlab: Server) -> None:
    environment, server = gitlab
    for folder in ("", "projects/names", ""):
        comment.upsert(f"{mark(folder)}\nof {folder}", environment)
    assert [entry["body"] for entry in server.notes.values()] == [
        f"{MARK}\nof", f"{mark('projects/names')}\nof projects/names",
    ]  # fmt: skip


def test_pictures_stand_in_the_note_and_the_same_one_is_uploaded_once(gitlab: Server, tmp_path: Path) -> None:
    environment, server = gitlab
    written = pictures.write(example_review(3), tmp_path)
    assert [path.name for path in written] == ["models.png", "confusions.png"]
    for path in written:
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG")
        width, height = struct.unpack(">II", content[16:24])
        assert width > 1000
        assert height > 300
    for text in ("first", "second"):
        comment.upsert(f"{MARK}\n{text}", environment, written)
    assert len(server.uploads) == 2
    body = server.notes[1]["body"]
    assert body.startswith(f"{MARK}\nsecond\n\n![models](/uploads/")
    assert re.search(r"!\[confusions\]\(/uploads/0{31}2/confusions-[0-9a-f]{12}\.png\)$", body)
    written[0].write_bytes(b"\x89PNG another")
    comment.upsert(f"{MARK}\nthird", environment, written)
    assert len(server.uploads) == 3
    assert pictures.write(empty_review(), tmp_path) == []
    assert list(tmp_path.iterdir()) == []  # those of an earlier review must not stand beside this one


def test_a_long_review_keeps_its_pictures_and_the_limit(gitlab: Server, tmp_path: Path) -> None:
    environment, server = gitlab
    picture = tmp_path / "models.png"
    picture.write_bytes(b"\x89PNG")
    comment.upsert(f"{MARK}\n{'x' * 1_000_000}", environment, [picture])
    body = server.notes[1]["body"]
    assert len(body) == 1_000_000
    assert body.endswith(".png)")


def test_a_refused_token_is_told_with_what_it_takes_and_never_shown(gitlab: Server) -> None:
    environment, server = gitlab
    with pytest.raises(ValueError, match=r"GITLAB_TOKEN \(401 for GET /api/v4/user\).* scope api") as raised:
        comment.upsert(f"{MARK}\ntext", environment | {"GITLAB_TOKEN": "wrong-token"})
    assert "wrong-token" not in str(raised.value)
    assert server.notes == {}


def test_a_missing_variable_and_a_text_that_is_no_review_are_told(gitlab: Server) -> None:
    environment, _ = gitlab
    with pytest.raises(ValueError, match="CI_MERGE_REQUEST_IID is not set"):
        comment.upsert(f"{MARK}\ntext", environment | {"CI_MERGE_REQUEST_IID": ""})
    with pytest.raises(ValueError, match="which is no review"):
        comment.upsert("text", environment)


def test_the_example_does_on_gitlab_what_the_workflow_does_on_github() -> None:
    job = yaml.safe_load((REPOSITORY / "docs/gitlab-ci.yml").read_text(encoding="utf-8"))["review"]
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/review.yml").read_text(encoding="utf-8"))
    runs = [step["run"] for step in workflow["jobs"]["review"]["steps"] if "run" in step]
    commands = [*job["script"], *job["after_script"]]
    for run in runs:
        wanted = run.removesuffix("; done").partition("; then ")[2] or run
        assert any(wanted.removesuffix("; fi") in command for command in commands), run
    assert job["script"][-1] == 'exit "${failed:-0}"'  # a stage that would run fails the job, after the note
    assert job["variables"]["BASE"] == "$CI_MERGE_REQUEST_DIFF_BASE_SHA"
    assert job["variables"]["GIT_DEPTH"] == "0"
    assert job["rules"] == [{"if": '$CI_PIPELINE_SOURCE == "merge_request_event"'}]
    assert TOKEN not in str(job)
