"""Progress: a bar on a terminal, or its states where WINNOW_PROGRESS asks for them; in a log a line a minute."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")
LINE_SECONDS = 60.0  # between two lines of a log: what takes less has none
LINE = "{desc}: {percentage:.0f}%, {n_fmt} of {total_fmt} batches, {remaining} left{postfix}"

log = logging.getLogger("winnow")


def progress(batches: Sequence[T], title: str, *, done: int = 0) -> tqdm[T]:
    """`batches` with a bar on stderr, named `title`; `done` is the number of batches completed before.

    A flow that watches gets a state of it every two seconds; a log, such as that of CI, a line a minute. Of several
    processes, only the first has one.
    """
    watched = "WINNOW_PROGRESS" in os.environ
    how: dict[str, Any] = {"mininterval": 2.0 if watched else 0.1}
    if not watched and not sys.stderr.isatty():
        how = {"mininterval": 1.0, "file": _Lines(), "bar_format": LINE}
    return tqdm(
        batches,
        desc=title,
        unit="batch",
        initial=done,
        total=done + len(batches),
        disable=os.environ.get("RANK", "0") != "0",
        leave=False,
        **how,
    )


class _Lines:
    """The stream that a bar writes to in a log: one of its states a minute becomes a line."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def write(self, state: str) -> None:
        now, text = time.monotonic(), state.strip()
        if text and now - self._said >= LINE_SECONDS:
            self._said = now
            log.info(text)

    def flush(self) -> None:
        """Do nothing: lines are written whole."""
