"""How far through a file its answering is: a bar on a terminal, in a log a line now and then.

How many rows a file has is not known before it is read, so the share done is that of its bytes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import click
from tqdm import tqdm

from flows.answering.reading import local_opener

DELAY_SECONDS = 2.0  # what takes less has no bar
LINE_SECONDS = 60.0  # between two lines of a log


class Bar:
    """A bar for the rows of one file, which is to be opened by `opener`."""

    def __init__(self, file: str, *, is_sized: bool) -> None:
        """`is_sized`: whether it is opened by `opener`, so that its share that is read is known."""
        path = Path(file)
        self._size = path.stat().st_size if is_sized and path.is_file() else 0
        self._file, self._rows, self._said = file, 0, time.monotonic()
        self._stream: BinaryIO | None = None
        self._bar: Any = None
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=self._size or None, desc=path.name, unit="B", unit_scale=True, leave=False, delay=DELAY_SECONDS,
                bar_format="{desc}: {percentage:.0f}%|{bar}| {postfix}, {remaining} left" if self._size else None,
            )  # fmt: skip

    @property
    def opener(self) -> Callable[[], BinaryIO]:
        """Opens the file."""
        opened = local_opener(self._file)

        def open_it() -> BinaryIO:
            self._stream = opened()
            return self._stream

        return open_it

    def add(self, rows: int) -> None:
        """So many more rows are done."""
        self._rows += rows
        place = self._place()
        if self._bar is not None:
            self._bar.set_postfix_str(f"{self._rows:,} rows", refresh=False)
            self._bar.update(place - self._bar.n)
        elif time.monotonic() - self._said >= LINE_SECONDS:
            self._said = time.monotonic()
            share = f", {place / self._size:.0%} of the file" if self._size else ""
            click.echo(f"winnow: {self._rows:,} rows answered{share}", err=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def _place(self) -> int:
        """How many bytes of the file are read; those of a gzipped one as they are stored."""
        if self._stream is None or self._stream.closed:
            return self._size
        return os.lseek(self._stream.fileno(), 0, os.SEEK_CUR)
