"""Progress of a stage at Prefect: an artifact that follows its bar, and a line of the log now and then."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from typing import Any

from prefect.artifacts import (
    create_progress_artifact,
    update_progress_artifact,
)

BAR_SECONDS = 2.0  # between two updates of a progress artifact
LINE_SECONDS = 30.0  # between two lines of the log that say how far a stage is


class Bar:
    """A stage's progress bar: an artifact of its task run, made at the first state, and some lines of the log."""

    def __init__(self, stage: str, on_line: Callable[[str], object]) -> None:
        self._stage, self._on_line = stage, on_line
        self._said = time.monotonic()
        self._key = "progress-" + re.sub(r"[^a-z0-9]+", "-", stage.lower()).strip("-")
        self._artifact: Any = None
        self._shown = 0.0

    def show(self, line: str) -> None:
        """Show one state, such as "epoch 2:  40%|####      | 12/30"."""
        found = re.match(r"(.*?):?\s*(\d+)%\|[^|]*\|\s*(.*)", line)
        if found is None or time.monotonic() - self._shown < BAR_SECONDS:
            return
        self._put(float(found[2]), f"{found[1]}: {found[3]}")
        if self._shown - self._said >= LINE_SECONDS:
            self._said = self._shown
            self._on_line(f"{self._stage}: {found[1]}: {found[2]}% {found[3]}")

    def finish(self) -> None:
        """Complete the bar: the stage has succeeded."""
        if self._artifact is not None:
            self._put(100.0, "done")

    def _put(self, percent: float, description: str) -> None:
        self._shown = time.monotonic()
        with contextlib.suppress(Exception):  # a server that is away must not end the stage
            if self._artifact is None:
                self._artifact = create_progress_artifact(percent, key=self._key, description=description)
            else:
                update_progress_artifact(self._artifact, percent, description=description)
