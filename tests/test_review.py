"""The review, on a scratch repository with branches and a real DVC remote, and its pure parts by hand."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import REPOSITORY, edit_params, run
from review_project import change, make_review_project, review

from flows import changes, comment
from flows.comparison import gather
from flows.evidence import MetricChange, Results
from flows.markdown import escape, value
from flows.review import MARK
from stages.params import load_params


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository on whose branch `worse` the quantized model has 40 rows of 600 wrong, and a parameter is another."""
    project = make_review_project(tmp_path_factory.mktemp("review") / "project")
    run(project, "git", "checkout", "-qb", "worse")
    edit_params(project, evaluate__resamples=500)
    change(project, "40 rows worse", worse={"quantized": 40})
    return project


@pytest.fixture
def project(reviewed: Path, tmp_path: Path) -> Path:
    copied = tmp_path / "project"
    shutil.copytree(reviewed, copied, symlinks=True)
    return copied


def test_the_five_questions_come_first_and_are_answered(reviewed: Path) -> None:
    text = review(reviewed, "--base", "main").stdout
    first = text.partition("<details>")[0]
    assert text.startswith(MARK)
    assert len(first.splitlines()) < 20
    assert "`evaluate.resamples` `1000` → `500`" in first
    assert re.search(r"macro-F1 9\d\.\d% → 8\d\.\d% \(-\d\.\d points\)", first)
    assert re.search(r"\| Is that real\? \| yes; .* 0 became right, \d\d wrong", first)
    assert "latency p50 2 ms → 2 ms" in first
    assert "❌ fail" in first
    for stage in ("`clean`", "`evaluate@quantized`"):
        assert stage in text


def test_every_number_is_that_of_the_files_of_both_revisions(reviewed: Path) -> None:
    found = gather(reviewed, "main")
    before = json.loads(run(reviewed, "git", "show", "main:metrics/quality/quantized.json").stdout)
    after = json.loads((reviewed / "metrics/quality/quantized.json").read_text())
    accuracy = next(c for c in found.metrics if (c.model, c.metric) == ("quantized", "accuracy"))
    assert (accuracy.before, accuracy.after) == (before["accuracy"], after["accuracy"])
    assert accuracy.verdict == "worse"
    assert accuracy.low < accuracy.difference < accuracy.high < 0
    teacher = next(c for c in found.metrics if (c.model, c.metric) == ("teacher", "accuracy"))
    assert teacher.verdict == "unchanged"
    flips = [flip for flip in found.flips if flip.model == "quantized"]
    lost = round((before["accuracy"] - after["accuracy"]) * 600)
    pair = next(pair for pair in found.paired if pair.model == "quantized")
    assert pair.right_to_wrong - pair.wrong_to_right == lost == sum(flip.kind == "right to wrong" for flip in flips)
    assert flips[0].text.startswith(f"text {flips[0].row_id} about {flips[0].label}")
    assert found.base.subject == "first results"
    assert found.head.name == "worse"
    assert found.notes == ()


def test_the_same_revision_changes_nothing_and_passes(reviewed: Path) -> None:
    found = gather(reviewed, "HEAD")
    assert found.params == found.stages == found.flips == ()
    assert {c.verdict for c in found.metrics} == {"unchanged"}
    assert found.decision is not None
    assert found.decision.outcome == "pass"


def test_without_a_base_it_is_where_the_branch_left_main(reviewed: Path) -> None:
    assert gather(reviewed).base.commit == run(reviewed, "git", "rev-parse", "--short", "main").stdout.strip()


def test_a_fresh_clone_gets_what_it_needs_from_the_remote_and_make_review_says_it_matches(
    reviewed: Path, tmp_path: Path
) -> None:
    clone = tmp_path / "a clone"
    run(tmp_path, "git", "clone", "-q", "--branch", "worse", str(reviewed), str(clone))
    (clone / ".venv").mkdir()
    (clone / ".venv/bin").symlink_to(Path(sys.executable).parent)
    done = run(clone, "make", "-o", ".venv/.ready", "review", BASE="origin/main")
    assert "right to wrong" in done.stdout
    assert "- Note:" not in done.stdout
    assert (clone / "artifacts/review/review.html").stat().st_size > 100_000
    assert (clone / "artifacts/review/review.md").read_text() in done.stdout
    edit_params(clone, evaluate__resamples=700)
    done = run(clone, "make", "-o", ".venv/.ready", "review", BASE="origin/main", check=False)
    assert done.returncode != 0
    assert "dvc.lock does not match" in done.stderr
    assert "evaluate@quantized would run" in done.stderr


def test_without_the_data_a_lock_that_matches_is_no_fault(reviewed: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", "--branch", "worse", str(reviewed), str(clone))
    assert run(clone, "winnow", "plan", "--check").stdout == ""


def test_an_altered_object_of_the_cache_is_not_believed(project: Path) -> None:
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    digest = lock["stages"]["evaluate@quantized"]["outs"][0]["md5"]
    kept = project / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    kept.chmod(0o644)
    kept.write_bytes(b"PAR1 something else")
    found = gather(project, "main")
    assert found.notes == ()  # the working tree's own copy has the right bytes
    assert found.decision is not None
    assert found.decision.outcome == "fail"


def test_a_base_without_metrics_is_a_first_release(project: Path) -> None:
    root = run(project, "git", "rev-list", "--max-parents=0", "HEAD").stdout.strip()
    text = review(project, "--base", root).stdout
    assert "metrics/quality/quantized.json of" in text
    assert "is missing" in text
    assert "Is that real? | not known" in text


def test_other_test_rows_and_labels_are_said_and_the_review_still_comes_out(project: Path) -> None:
    change(project, "more", rows=900, first=300, labels=["sea", "kitchen", "desert"], processor="two")
    found = gather(project, "main")
    notes = " ".join(found.notes)
    assert "600 before, 900 now, 300 in both" in notes
    assert "now without forest and with desert" in notes
    assert "another true label than before" in notes
    pair = next(pair for pair in found.paired if pair.model == "quantized")
    assert 0 < pair.rows < 300  # those whose label stayed
    assert "times are of two machines" in notes
    latency = next(c for c in found.metrics if (c.model, c.metric) == ("quantized", "latency_p50_ms"))
    assert latency.verdict in ("no clear change", "unchanged")
    assert "Winnow review" in review(project, "--base", "main").stdout


def test_three_test_rows_are_too_few_to_tell(project: Path) -> None:
    run(project, "git", "checkout", "-q", "main")
    change(project, "tiny", rows=3)
    run(project, "git", "commit", "--allow-empty", "-qm", "nothing")
    text = review(project, "--base", "HEAD~1").stdout
    assert "❔ inconclusive" in text
    assert re.search(r"Too few rows to tell: an equal model shows it with about \d[\d,]+", text)


def test_a_test_set_of_one_row_makes_nothing_real(project: Path) -> None:
    change(project, "one", rows=1)
    found = gather(project, "main")
    accuracy = next(c for c in found.metrics if (c.model, c.metric) == ("quantized", "accuracy"))
    assert accuracy.verdict in ("no clear change", "unchanged")
    assert found.decision is not None
    assert found.decision.outcome != "pass"


def test_what_was_never_pushed_is_noted(project: Path) -> None:
    shutil.rmtree(project / ".dvc/cache")
    shutil.rmtree(project / "artifacts/reliability")
    run(project, "dvc", "remote", "remove", "store")
    found = gather(project, "main")
    assert any("artifacts/reliability/quantized.csv of the working tree cannot be had" in note for note in found.notes)
    assert "Winnow review" in review(project, "--base", "main").stdout


def test_an_unknown_revision_is_a_line(reviewed: Path) -> None:
    for name in ("nowhere", "--output=/tmp/x"):
        done = review(reviewed, f"--base={name}", check=False)
        assert done.returncode == 1
        assert f"git knows no revision '{name}'" in done.stderr
        assert "Traceback" not in done.stderr


# the pure parts


def results(labels: list[str], predicted: list[str], names: tuple[str, ...] = ("a", "b"), **more: Any) -> Results:
    probabilities = np.array([[0.8 if name == answer else 0.2 for name in names] for answer in predicted])
    return Results(
        np.array(labels), np.array(predicted), np.array([str(i) for i in range(len(labels))]),
        names=names, probabilities=probabilities, **more,
    )  # fmt: skip


def test_differences_of_another_test_set_get_the_interval_of_two_samples() -> None:
    ends = {"accuracy": {"low": 0.7, "high": 0.9}}
    old = results(["a", "b"], ["a", "b"], quality={"accuracy": 0.8, "intervals": ends})
    new = results(
        ["a", "b", "a"],
        ["a", "b", "a"],
        quality={"accuracy": 0.9, "intervals": {"accuracy": {"low": 0.85, "high": 0.93}}},
    )
    settings = load_params(REPOSITORY / "params.yaml").evaluate
    change = next(c for c in changes.metrics("teacher", old, new, settings, []) if c.metric == "accuracy")
    assert change.low == pytest.approx(0.1 - np.hypot(0.05, 0.1))
    assert change.high == pytest.approx(0.1 + np.hypot(0.03, 0.1))


def test_losses_of_the_same_rows_get_a_paired_interval() -> None:
    draw = np.random.default_rng(0)
    truth = draw.choice(["a", "b"], 400).tolist()
    old = [label if draw.random() < 0.6 else "a" for label in truth]
    settings = load_params(REPOSITORY / "params.yaml").evaluate
    known = {"log_loss": 1.0, "brier": 0.5, "ece": 0.2}
    found = {
        c.metric: c
        for c in changes.metrics(
            "teacher",
            results(truth, old, quality=known),
            results(truth, truth, quality=known | {"brier": 0.08, "log_loss": 0.2}),
            settings,
            [],
        )
    }
    assert found["brier"].high < 0
    assert found["log_loss"].verdict == "better"


def test_a_stage_is_listed_with_what_changed_in_its_lock() -> None:
    old = {
        "stages": {
            "distill": {
                "cmd": "x",
                "deps": [{"path": "a", "md5": "1"}],
                "params": {"params.yaml": {"distill": {"t": 4}}},
            },
            "gone": {},
        }
    }
    new = {
        "stages": {
            "distill": {
                "cmd": "x",
                "deps": [{"path": "a", "md5": "2"}],
                "params": {"params.yaml": {"distill": {"t": 3}}},
            },
            "new": {},
        }
    }
    found = {change.stage: change.reasons for change in changes.stages(old, new)}
    assert found == {"distill": ("distill.t: 4 -> 3", "a changed"), "new": ("it is new",), "gone": ("it is gone",)}


def test_verdicts_need_an_interval_that_leaves_out_zero() -> None:
    def verdict(low: float | None, high: float | None, after: float = 0.6) -> str:
        return MetricChange("m", "accuracy", "share", "higher", 0.5, after, low, high).verdict

    assert verdict(0.01, 0.2) == "better"
    assert verdict(-0.01, 0.2) == "no clear change"
    assert verdict(None, None, after=0.5) == "unchanged"
    assert MetricChange("m", "size_mb", "MB", "lower", 16.0, 17.0).verdict == "worse"
    assert MetricChange("m", "size_mb", "MB", "lower", None, 17.0).verdict == "unknown"


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (0.5612, "share", "56.1%"),
        (1.0382, "ms", "1.04 ms"),
        (8004.2, "rows/s", "8,004 rows/s"),
        (None, "ms", "-"),
        (float("inf"), "ms", "-"),
    ],
)
def test_values_are_shown_as_people_read_them(number: float | None, unit: str, text: str) -> None:
    assert value(number, unit) == text


def test_texts_of_rows_are_no_markup_in_the_comment() -> None:
    hostile = "a | b\n<img src=x> `code` [link](http://x) @someone **bold**"
    safe = escape(hostile)
    assert "\n" not in safe
    assert not re.search(r"(?<!\\)[|`*\[]|<|@s|http://", safe)


# the comment


class Comments(BaseHTTPRequestHandler):
    """GitHub's interface to the comments of an issue, as far as the workflow needs it."""

    kept: dict[int, dict[str, Any]]
    tokens: set[str]

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, content: Any, code: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def given(self) -> dict[str, Any]:
        self.tokens.add(str(self.headers["Authorization"]))
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def do_GET(self) -> None:
        found = re.search(r"[?&]page=(\d+)", self.path)
        assert found
        page = int(found[1])
        self.answer(list(self.kept.values())[100 * (page - 1) : 100 * page])

    def do_POST(self) -> None:
        number = len(self.kept) + 1
        self.kept[number] = {"id": number, **self.given(), "user": {"type": "Bot"}, "html_url": f"comment {number}"}
        self.answer(self.kept[number], 201)

    def do_PATCH(self) -> None:
        number = int(self.path.rpartition("/")[2])
        self.kept[number] |= self.given()
        self.answer(self.kept[number])


@pytest.fixture
def comments() -> Iterator[tuple[str, type[Comments]]]:
    handler = type("Handler", (Comments,), {"kept": {}, "tokens": set()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()


def test_the_comment_is_written_once_and_then_updated(tmp_path: Path, comments: tuple[str, type[Comments]]) -> None:
    address, handler = comments
    talk = {n: {"id": n, "body": "talk", "user": {"type": "User"}} for n in range(1, 131)}
    handler.kept |= talk | {131: {"id": 131, "body": f"{MARK} mine, says somebody", "user": {"type": "User"}}}
    file = tmp_path / "review.md"
    environment = {
        "GITHUB_API_URL": address,
        "GITHUB_REPOSITORY": "a/b",
        "GITHUB_TOKEN": "the-token",
        "PULL_REQUEST": "7",
    }
    for text in ("first", "second"):
        file.write_text(f"{MARK}\n{text}")
        command = [sys.executable, "-m", "flows.comment", str(file)]
        done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "comment 132"
        assert "the-token" not in done.stdout + done.stderr
    assert len(handler.kept) == 132
    assert handler.kept[132]["body"] == f"{MARK}\nsecond"
    assert handler.tokens == {"Bearer the-token"}


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(ValueError, match="GITHUB_TOKEN is not set"):
        comment.upsert("text", {"GITHUB_REPOSITORY": "a/b", "PULL_REQUEST": "7"})


def test_workflows_pin_their_actions_and_ask_for_no_more_than_they_need() -> None:
    for path in (REPOSITORY / ".github/workflows").glob("*.yml"):
        text = path.read_text(encoding="utf-8")
        assert all(re.search(r"@[0-9a-f]{40} #", line) for line in text.splitlines() if "uses:" in line), path
        assert yaml.safe_load(text)["permissions"] == {"contents": "read"}, path
        assert "pull_request_target" not in text, path
        runs = re.findall(r"run: (.+)", text)
        assert not any("${{" in command for command in runs), path  # nothing of a pull request becomes shell
