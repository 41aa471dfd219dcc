"""flows.running.console: what of Prefect's log the terminal shows."""

from __future__ import annotations

import io
import logging
import os
import signal

import pytest

from flows.running.console import plain
from flows.running.processes import ended_says


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a handler of the root logger, as Prefect's console is one, shows."""
    stream = io.StringIO()
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.StreamHandler(stream)])
    return stream


def test_lines_that_say_nothing_are_not_shown_and_failures_are(shown: io.StringIO):
    log = logging.getLogger("prefect.ours")
    log.setLevel(logging.INFO)
    plain(), plain()
    log.info("Finished in state %s", "Completed('it has never run')")
    log.info("Starting temporary server on http://127.0.0.1:8118\nSee https://docs.prefect.io/")
    logging.getLogger("somebody").error("Finished in state Completed('of another')")
    log.error("Finished in state Failed('the rows are bad')")
    log.info("clean: done in 0.1 s")
    assert shown.getvalue().splitlines() == [
        "Finished in state Completed('of another')",
        "Finished in state Failed('the rows are bad')",
        "clean: done in 0.1 s",
    ]


@pytest.mark.parametrize(("number", "ended"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_once_the_user_ends_the_run_nothing_more_of_prefect_is_shown(
    number: signal.Signals, ended: type[BaseException], shown: io.StringIO
):
    before = signal.getsignal(number)
    log = logging.getLogger("prefect.ours")

    def run() -> None:
        plain()
        with ended_says("stopped; goes on"):
            try:
                log.error("a real failure")
                os.kill(os.getpid(), number)
                signal.pause()
            finally:
                log.error("Crash detected!")

    with pytest.raises(ended) as raised:
        run()
    assert shown.getvalue() == "a real failure\n"
    assert "stopped; goes on" in [*map(str, raised.value.args), *getattr(raised.value, "__notes__", ())]
    assert signal.getsignal(number) is before
