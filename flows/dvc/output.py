"""The output of a child process, line by line, without colours and secrets; of a progress bar only the last state."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
from collections.abc import Callable, Iterator

from flows.running.forked import Forked
from flows.running.masking import masked_start

LINE_LIMIT = 2000  # characters of one line that go on; a log is not the place for more
PENDING_LIMIT = 1 << 20  # bytes of a line that are held until it ends
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def lines_of(process: subprocess.Popen[bytes] | Forked, on_bar: Callable[[str], object] | None) -> Iterator[str]:
    """The child's output, line by line; of a progress bar only the last state, while the others go to `on_bar`."""
    assert process.stdout is not None
    pending = b""
    selector = selectors.DefaultSelector()
    selector.register(process.stdout, selectors.EVENT_READ)
    while True:
        if selector.select(timeout=1.0):
            chunk = os.read(process.stdout.fileno(), 65_536)
            if not chunk:
                break
            *complete, pending = (pending + chunk).split(b"\n")
            yield from filter(None, map(_shortened, complete))
            if b"\r" in pending[:-1]:  # a bar under way: what it showed before is gone
                pending = pending[pending.rindex(b"\r", 0, -1) :]
            pending = pending[:PENDING_LIMIT]
            if on_bar and b"\r" in pending and (bar := _shortened(pending)):
                on_bar(bar)
        elif process.poll() is not None:
            break  # it ended, and something that it left behind still holds its output
    selector.close()
    if last := _shortened(pending):
        yield last


def _shortened(raw: bytes) -> str:
    shown = raw.decode("utf-8", errors="replace").rstrip("\r").rsplit("\r", 1)[-1]
    return masked_start(_ANSI.sub("", shown).rstrip(), LINE_LIMIT)
