"""Tokens to text as they come: whole characters, and nothing that may belong to a stop string."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

UNFINISHED = "\ufffd"  # what a decoder makes of bytes that are no whole character


class TextSoFar:
    """The text of some tokens, which grows by a token.

    A token is decoded with those before it back to the last that ended a piece, as its text hangs on its neighbours:

        context  t1  t2  t3  t4
                 begin   read       text of t3 and t4 = decode(t1 ... t4) without decode(t1 t2)
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], context: Sequence[int], stop: Sequence[str]) -> None:
        self._decode, self._stop = decode, tuple(stop)
        self._ids, self._begin, self._read = list(context), 0, len(context)
        self._taken = 0
        self.text = ""
        """All that is known, without the stop string."""
        self.stopped = False
        """Whether a stop string was written; no token may follow."""

    def add(self, token: int) -> None:
        """Append a token."""
        self._ids.append(token)
        before = self._decode(self._ids[self._begin : self._read])
        both = self._decode(self._ids[self._begin :])
        if len(both) > len(before) and not both.endswith(UNFINISHED):
            self._begin, self._read = self._read, len(self._ids)
            self._append(both[len(before) :])

    def finish(self) -> None:
        """No token follows: what is known of the last ones belongs to the text, but no half character at its end."""
        if not self.stopped:
            before = self._decode(self._ids[self._begin : self._read])
            self._append(self._decode(self._ids[self._begin :])[len(before) :].rstrip(UNFINISHED))
        self._stop = ()

    def _append(self, piece: str) -> None:
        known = len(self.text)
        self.text += piece
        ends = [self.text.find(stop, max(0, known - len(stop) + 1)) for stop in self._stop]
        if found := [end for end in ends if end >= 0]:
            self.text, self.stopped = self.text[: min(found)], True

    def take(self) -> str:
        """What is certain of the text, and was not taken yet: nothing that may be the beginning of a stop string."""
        ready = len(self.text) if self.stopped else len(self.text) - self._held()
        piece, self._taken = self.text[self._taken : ready], max(ready, self._taken)
        return piece

    def _held(self) -> int:
        """How many of the last characters may begin a stop string."""
        return max((self._held_by(stop) for stop in self._stop), default=0)

    def _held_by(self, stop: str) -> int:
        lengths = range(min(len(stop) - 1, len(self.text)), 0, -1)
        return next((length for length in lengths if self.text.endswith(stop[:length])), 0)

    def copied(self) -> TextSoFar:
        """Another one, which grows by itself."""
        other = copy.copy(self)
        other._ids = self._ids.copy()
        return other
