"""Progress bars: on a terminal, and where whoever runs the stage asks for them by WINNOW_PROGRESS; else none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(batches: Sequence[T], title: str) -> tqdm[T]:
    """`batches` with a bar on stderr, named `title`; a flow that watches gets a state of it every two seconds."""
    watched = "WINNOW_PROGRESS" in os.environ
    return tqdm(
        batches,
        desc=title,
        unit="batch",
        disable=False if watched else None,
        leave=False,
        mininterval=2.0 if watched else 0.1,
    )
