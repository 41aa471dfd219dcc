"""The cores of this machine, shared out to stages that run together, so that two heavy stages never share them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class Budget:
    """A number of cores, taken and given back in the order of requests, so that heavy stages are not starved."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._queue: list[object] = []
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taking(self, wanted: int | None) -> Iterator[None]:
        """Hold `wanted` cores inside; None, or more than exist: all of them."""
        taken = self.total if wanted is None else max(1, min(wanted, self.total))
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                while self._queue[0] is not ticket or self._free < taken:
                    self._changed.wait()
                self._free -= taken
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += taken
                self._changed.notify_all()
