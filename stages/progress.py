"""Progress bars: on a terminal, and where whoever runs the stage asks for them by WINNOW_PROGRESS; else none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(batches: Sequence[T], title: str, *, done: int = 0) -> tqdm[T]:
    """`batches` with a bar on stderr, named `title`, of which so many more were `done` before.

    A flow that watches gets a state of it every two seconds. Of several processes, the first has one.
    """
    watched = "WINNOW_PROGRESS" in os.environ
    hidden = os.environ.get("RANK", "0") != "0"
    return tqdm(
        batches,
        desc=title,
        unit="batch",
        initial=done,
        total=done + len(batches),
        disable=hidden or (False if watched else None),
        leave=False,
        mininterval=2.0 if watched else 0.1,
    )
