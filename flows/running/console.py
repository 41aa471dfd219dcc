"""Prefect's log as the terminal shows it: without lines that say nothing there. A server keeps all of them.

Each stage would end with a line on the state that it is in, and a run that the user ends with a row of errors: of the
stages that he ended, of those that follow them, and of the flow.
"""

from __future__ import annotations

import logging

SAY_NOTHING = (
    "Starting temporary server on ", "Stopping temporary server on ",
    "Finished in state Completed(", "Finished in state Cached(",
)  # fmt: skip


class Console(logging.Filter):
    """What is shown of Prefect's log; nothing of it once the run is over, as its user ends it."""

    is_over = False

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] != "prefect":
            return True
        is_idle = record.levelno <= logging.INFO and record.getMessage().startswith(SAY_NOTHING)
        return not (self.is_over or is_idle)


def plain() -> None:
    """Have this process's log shown so from now on, to its very end: Prefect's server ends last."""
    for handler in logging.getLogger().handlers:
        for earlier in _filters(handler):
            handler.removeFilter(earlier)
        handler.addFilter(Console())


def over() -> None:
    """The user ends the run. A signal's handler may call this: it takes no lock."""
    for handler in logging.getLogger().handlers:
        for own in _filters(handler):
            own.is_over = True


def _filters(handler: logging.Handler) -> list[Console]:
    return [one for one in handler.filters if isinstance(one, Console)]
