"""How far a stage is, where no terminal shows a bar: lines of the log, few enough for CI."""

from __future__ import annotations

import functools
import io
import itertools
import logging
import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from flow_fixtures import eventually

from flows.running import bars, overview, times
from flows.running.root import worktrees_folder
from stages.core import progress
from stages.core.paths import Paths


def test_a_log_gets_lines_with_step_total_and_time_left_and_no_bar(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = itertools.count(0.0, 60.0)  # a minute passes between two looks at it
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.delenv("WINNOW_PROGRESS", raising=False)
    monkeypatch.setattr("sys.stderr", stderr := io.StringIO())
    caplog.set_level(logging.INFO, "winnow")
    shown = progress.progress(range(2, 10), "epoch 2/5", done=2)
    shown.mininterval, shown.miniters, shown.dynamic_miniters = 0, 1, False  # each batch takes long enough
    for number, _ in enumerate(shown):
        if number == 3:
            shown.set_postfix(left="420s")
    assert "epoch 2/5: 50%, 5 of 10 batches, " in caplog.text
    assert " left, left=420s" in caplog.text
    assert stderr.getvalue() == ""
    assert not any(sign in caplog.text for sign in ("\r", "|", "█"))


def test_what_takes_less_than_a_minute_has_no_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("WINNOW_PROGRESS", raising=False)
    monkeypatch.setattr("sys.stderr", stderr := io.StringIO())
    caplog.set_level(logging.INFO, "winnow")
    assert list(progress.progress(range(1000), "rows")) == list(range(1000))
    assert (caplog.text, stderr.getvalue()) == ("", "")


BAR = "epoch 2/5:  40%|####      | 12/30 [00:10<00:15,  1.2batch/s, left=42s, loss=0.310, lr=1.0e-05]"


def test_a_bar_is_read_and_said_in_words() -> None:
    shown = bars.read_bar(BAR)
    assert shown is not None
    assert shown.as_words() == "epoch 2/5, step 12 of 30 (40%), loss 0.310"
    assert shown.seconds_left == 42
    plain = bars.read_bar("profile:   5%|5         | 1/21 [00:10<00:15,  1.2batch/s]")
    assert plain is not None
    assert (plain.as_words(), plain.loss, plain.seconds_left) == ("profile, step 1 of 21 (5%)", None, None)
    assert bars.read_bar("10%") is None


GRAPH: dict[str, tuple[str, ...]] = {
    "clean": (), "report": ("clean",), "baseline": ("clean",), "finetune": ("clean",), "distill": ("finetune",),
}  # fmt: skip
LIGHT = {"clean": 1, "report": 1, "baseline": 1}


def test_light_stages_take_their_time_side_by_side_and_heavy_ones_one_after_the_other() -> None:
    seconds = {"clean": 10.0, "report": 20.0, "baseline": 30.0, "finetune": 100.0, "distill": 50.0}
    assert overview.duration(GRAPH, seconds, LIGHT, 2) == 10 + 30 + 100 + 50
    assert overview.duration(GRAPH, seconds, LIGHT, 1) == 10 + 20 + 30 + 100 + 50
    assert overview.duration({"distill": ("finetune",)}, seconds, LIGHT, 2) == 50, "what is over holds nobody back"
    rest = {name: GRAPH[name] for name in ("report", "baseline", "finetune", "distill")}
    running = {**seconds, "finetune": 60.0}
    assert overview.duration(rest, running, LIGHT, 2, first=["finetune"]) == 60 + 30 + 50


def test_a_log_has_a_line_each_20_seconds_with_the_stage_the_step_the_loss_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(overview, "LINE_SECONDS", 0.2)
    said: list[str] = []
    seconds = {"clean": 100.0, "finetune": 600.0}
    with overview.Overview({"clean": (), "finetune": ("clean",), "distill": ("finetune",)}, seconds, {}, 2) as run:
        with run.running("clean", said.append):
            pass
        with run.running("finetune", said.append) as take:
            eventually(lambda: len(said) >= 4)
            take(bars.Shown("epoch 2/5", 40, "12/30 [00:10<00:15, loss=0.310, left=300s]", 12, 30))
            eventually(lambda: "epoch" in said[-1])
        ended = len(said)
        time.sleep(0.5)
    rest = "left, without a stage that has never run here"
    assert said[0] == f"clean: stage 1 of 3 begins, 2 min last time; at least 12 min {rest}"
    assert said[1] == f"finetune: stage 2 of 3 begins, 10 min last time; at least 10 min {rest}"
    assert re.fullmatch(rf"finetune: stage 2 of 3, \d+ s so far; at least \d+ min {rest}", said[2])
    assert said[-1] == f"finetune: stage 2 of 3, epoch 2/5, step 12 of 30 (40%), loss 0.310; at least 5 min {rest}"
    assert len(said) == ended, "between stages nothing is said"


def test_the_time_left_is_unknown_rather_than_guessed_and_what_follows_a_failed_stage_is_left_out() -> None:
    said: list[str] = []
    with overview.Overview({"clean": (), "tokenize": ("clean",), "report": ()}, {"report": 40.0}, {}, 2) as run:
        with pytest.raises(ValueError, match="bad rows"), run.running("clean", said.append):
            raise ValueError("bad rows")
        with run.running("report", said.append):
            pass
    assert said[0] == "clean: stage 1 of 3 begins; at least 40 s left, without 2 stages that have never run here"
    assert said[1] == "report: stage 2 of 3 begins, 40 s last time; about 40 s left"
    said.clear()
    with overview.Overview({"clean": ()}, {}, {}, 2) as run, run.running("clean", said.append):
        pass
    assert said == ["clean: stage 1 of 1 begins; time left unknown, as nothing of it has run here"]


def test_that_nothing_is_known_of_the_time_left_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "LINE_SECONDS", 0.2)
    said: list[str] = []
    with overview.Overview({"clean": (), "tokenize": ("clean",)}, {}, {}, 2) as run:
        for number, stage in enumerate(("clean", "tokenize"), start=1):
            with run.running(stage, said.append):
                eventually(functools.partial(lambda lines: len(said) >= lines, 2 * number))
    assert said[0] == "clean: stage 1 of 2 begins; time left unknown, as nothing of it has run here"
    assert "tokenize: stage 2 of 2 begins" in said
    assert not any("unknown" in line for line in said[1:])


def test_a_stage_that_takes_longer_than_last_time_is_said_to_rather_than_a_time_that_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(overview, "LINE_SECONDS", 0.2)
    monkeypatch.setattr(overview, "SHORT", 0.1)
    said: list[str] = []
    late = "profile takes longer than last time (0 s)"

    def last_line(seconds: dict[str, float], bar: bars.Shown | None = None) -> str:
        said.clear()
        graph = {"profile": (), "compare": ("profile",), "card": ("compare",)}
        with overview.Overview(graph, seconds, {}, 2) as run, run.running("profile", said.append) as take:
            if bar is not None:
                take(bar)
            eventually(lambda: len(said) >= 4)
        return said[-1]

    rest = {"compare": 240.0, "card": 60.0}
    line = last_line({"profile": 0.1, **rest})
    assert re.fullmatch(rf"profile: stage 1 of 3, \d s so far; {re.escape(late)}; at least 5 min besides", line)
    line = last_line({"profile": 0.1, "compare": 240.0}, bars.Shown("profile", 3, "1/35", 1, 35))
    assert "profile, step 1 of 35 (3%), " in line
    assert line.endswith(f"; {late}; at least 4 min besides, without a stage that has never run here")
    assert last_line({"profile": 0.1}).endswith(f" so far; {late}")
    training = bars.Shown("epoch 1/2", 3, "1/35 [left=300s]", 1, 35)
    assert last_line({"profile": 0.1, **rest}, training).endswith("; about 10 min left"), "training tells it itself"


def test_times_are_of_this_clone_and_a_worktree_has_and_keeps_those(tmp_path: Path) -> None:
    worktree = worktrees_folder(tmp_path) / "abc"
    for root, stage, seconds in ((tmp_path, "clean", "10.0"), (tmp_path, "torn", ""), (worktree, "prune", "3.5")):
        path = Paths(root).seconds(stage)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(seconds)
    stages = ["clean", "torn", "prune", "never"]
    assert times.last_seconds(tmp_path, stages) == {"clean": 10.0}
    assert times.last_seconds(worktree, stages) == {"clean": 10.0, "prune": 3.5}
    times.keep_seconds(tmp_path)
    times.keep_seconds(worktree)
    assert times.last_seconds(tmp_path, stages) == {"clean": 10.0, "prune": 3.5}
