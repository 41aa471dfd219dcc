"""Signals that end a process, as exceptions. It needs no library, so that the light install has it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def ending_signals_raise() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise SystemExit(128 + number) inside, so that clean-up code runs.

    Only in the main thread, and only where nobody else handles them.
    """
    replaced: list[signal.Signals] = []
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _raise_exit)
                replaced.append(number)
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, signal.SIG_DFL)


def _raise_exit(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
