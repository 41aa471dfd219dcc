"""Progress of a stage: a state of its bar, read, and the artifact at Prefect that follows it."""

from __future__ import annotations

import contextlib
import re
import time
from typing import Any, NamedTuple

from prefect.artifacts import (
    create_progress_artifact,
    update_progress_artifact,
)

BAR_SECONDS = 2.0  # between two updates of a progress artifact
_BAR = re.compile(r"(.*?):?\s*(\d+)%\|[^|]*\|\s*((\d+)/(\d+).*)")


class Shown(NamedTuple):
    """One state of a progress bar: "epoch 2/3:  40%|####      | 101/252 [00:10<00:15, loss=0.412, left=42s]", say."""

    title: str
    percent: int
    rest: str
    step: int
    steps: int

    @property
    def loss(self) -> str | None:
        """The loss of the last steps, as training shows it; None where the bar has none."""
        found = re.search(r"\bloss=([^,\]\s]+)", self.rest)
        return found[1] if found else None

    @property
    def seconds_left(self) -> float | None:
        """The seconds until all epochs are done, as training estimates them; None where the bar does not say it."""
        found = re.search(r"\bleft=(\d+)s", self.rest)
        return float(found[1]) if found else None

    def as_words(self) -> str:
        """The state for a line of the log: "epoch 2/3, step 101 of 252 (40%), loss 0.412"."""
        return f"{self.title}, step {self.step} of {self.steps} ({self.percent}%)" + (
            f", loss {self.loss}" if self.loss else ""
        )


def read_bar(line: str) -> Shown | None:
    """The state of the bar that a line shows; None where it shows none."""
    found = _BAR.match(line)
    return Shown(found[1], int(found[2]), found[3], int(found[4]), int(found[5])) if found else None


class Bar:
    """A stage's progress bar as an artifact of its task run, made at the first state."""

    def __init__(self, stage: str) -> None:
        self._key = "progress-" + re.sub(r"[^a-z0-9]+", "-", stage.lower()).strip("-")
        self._artifact: Any = None
        self._shown = 0.0

    def show(self, bar: Shown) -> None:
        """Show one state, unless another was shown a moment ago."""
        if time.monotonic() - self._shown >= BAR_SECONDS:
            self._put(float(bar.percent), f"{bar.title}: {bar.rest}")

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
