"""How far a stage is, where no terminal shows a bar: lines of the log, few enough for CI."""

from __future__ import annotations

import io
import itertools
import logging
from types import SimpleNamespace

import pytest

from flows.running import bars
from stages.core import progress


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


def test_a_flow_logs_now_and_then_how_far_a_stage_is(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(bars.Bar, "_put", lambda self, *_: setattr(self, "_shown", bars.time.monotonic()))
    monkeypatch.setattr(bars, "BAR_SECONDS", 0.0)
    for seconds, lines in ((0.0, 1), (3600.0, 0)):
        monkeypatch.setattr(bars, "LINE_SECONDS", seconds)
        said.clear()
        bar = bars.Bar("finetune", said.append)
        bar.show("epoch 2/5:  40%|####      | 12/30 [00:10<00:15, left=42s]")
        assert said == ["finetune: epoch 2/5: 40% 12/30 [00:10<00:15, left=42s]"] * lines
