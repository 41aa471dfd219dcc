"""The cores of this machine, shared out to stages that run together: two heavy ones never share them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class Budget:
    """So many cores, taken and given back; who asks first is served first, so that the heavy are not starved."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._queue: list[object] = []
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taking(self, wanted: int | None) -> Iterator[None]:
        """Hold `wanted` cores inside; None, or more than there are: all of them."""
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
