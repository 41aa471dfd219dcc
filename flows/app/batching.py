"""Rows of requests that come at the same time are answered together, by one thread.

    requests ── rows, first come first served ──> waiting ── batches of one kind ──> the thread ──> records ──> requests

While the thread is at work further rows gather by themselves; a batch that they do not fill waits `gather` for others.
A request with many rows is answered in several batches, so that none grows beyond BATCH_ROWS and BATCH_CHARACTERS.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flows.app.refusals import Refused
from stages.core.contracts import UnwritableError

if TYPE_CHECKING:
    from stages.core.contracts import Generation, Text

BATCH_ROWS = 64
BATCH_CHARACTERS = 200_000  # some seconds of work at most, where long texts are read in windows
Record = dict[str, Any]


@dataclass
class _Asked:
    """The rows of a request, and their answers as they come."""

    texts: Sequence[Text]
    how: Generation | None
    """How is to be written for them, where that is asked for."""
    answered: asyncio.Future[list[Record]]
    taken: int = 0
    """Rows that are, or were, in a batch."""
    records: list[Record] = field(default_factory=list)

    @property
    def kind(self) -> Hashable:
        """Rows of the same kind are answered together."""
        return isinstance(self.texts[0], str), self.how

    def give(self, records: Sequence[Record]) -> None:
        self.records += records
        if len(self.records) == len(self.texts) and not self.answered.done():
            self.answered.set_result(self.records)

    def fail(self, error: BaseException) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)


_Slice = tuple[_Asked, Sequence["Text"]]


class Batcher:
    """Answers the rows of all requests; all but `answer` runs in the event loop."""

    def __init__(
        self,
        answer: Callable[..., list[Record]],
        *,
        waiting: int,
        gather: float,
        observe: Callable[[int], None] = lambda _: None,
    ) -> None:
        """answer(texts), or answer(texts, how) of requests that say how to write, is called in a thread.

        At most `waiting` rows wait.

        `gather`: the seconds that a batch under BATCH_ROWS waits for more.
        observe(rows) is called with the size of each batch.
        """
        self._answer, self._most, self._gather, self._observe = answer, waiting, gather, observe
        self._asked: deque[_Asked] = deque()
        self._filled, self._enough = asyncio.Event(), asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "model")
        self.waiting = 0
        """Rows that are in no batch yet."""
        self.works = False
        """Whether rows are answered."""

    async def answers(self, texts: Sequence[Text], how: Generation | None = None) -> list[Record]:
        """The record of each text, or pair. Raises Refused (429) where too many rows wait.

        Rows of a caller that was cancelled are not answered.
        """
        if self.waiting + len(texts) > self._most and self.waiting:
            raise Refused(429, "too many rows wait for the model", "server", f"{self.waiting:,} rows waiting",
                          f"{self._most:,}", "Ask again in a second, or ask more slowly.",
                          {"Retry-After": "1"})  # fmt: skip
        asked = _Asked(texts, how, asyncio.get_running_loop().create_future())
        self._asked.append(asked)
        self.waiting += len(texts)
        self._filled.set()
        if self.waiting >= BATCH_ROWS:
            self._enough.set()
        try:
            return await asked.answered
        finally:
            self.waiting -= len(texts) - asked.taken
            asked.taken = len(texts)

    async def work(self) -> None:
        """Answer batch after batch, until cancelled."""
        self.works = True
        try:
            while True:
                await self._filled.wait()
                if self._gather and self.waiting < BATCH_ROWS:
                    self._enough.clear()
                    await _at_most(self._gather, self._enough)
                if batch := self._taken():
                    await self._answered(batch)
        finally:
            self.works = False

    def close(self) -> None:
        """End the thread, after the batch that it is at."""
        self._thread.shutdown(wait=False)

    def _taken(self) -> list[_Slice]:
        """The next batch: rows of one kind, in the order of their requests."""
        batch: list[_Slice] = []
        rows = characters = 0
        while self._asked and rows < BATCH_ROWS and characters < BATCH_CHARACTERS:
            asked = self._asked[0]
            if asked.taken < len(asked.texts):
                if batch and batch[0][0].kind != asked.kind:
                    break
                begins = asked.taken
                while asked.taken < len(asked.texts) and rows < BATCH_ROWS and characters < BATCH_CHARACTERS:
                    characters += _length(asked.texts[asked.taken])
                    asked.taken += 1
                    rows += 1
                batch.append((asked, asked.texts[begins : asked.taken]))
            if asked.taken == len(asked.texts):
                self._asked.popleft()
        self.waiting -= rows
        if not self._asked:
            self._filled.clear()
        return batch

    async def _answered(self, batch: Sequence[_Slice]) -> None:
        texts = [text for _, some in batch for text in some]
        self._observe(len(texts))
        try:
            records = iter(await self._in_thread(texts, batch[0][0].how))
        except Exception as error:
            if len(batch) == 1:
                only = batch[0][0]
                only.fail(_moved(error, len(only.records)))
                return
            for one in batch:  # which of them it was: the others get their answers
                await self._answered([one])
            return
        for asked, some in batch:
            asked.give([next(records) for _ in some])

    async def _in_thread(self, texts: Sequence[Text], how: Generation | None) -> list[Record]:
        asked = (texts,) if how is None else (texts, how)
        records = await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, *asked)
        if len(records) != len(texts):
            raise ValueError(f"the model gave {len(records):,} records for {len(texts):,} texts")
        return records


def _moved(error: Exception, before: int) -> Exception:
    """The error, with the numbers of texts for which nothing can be written as those of the whole request."""
    if not isinstance(error, UnwritableError):
        return error
    return UnwritableError({before + number: reason for number, reason in error.reasons.items()})


async def _at_most(seconds: float, event: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


def _length(text: Text) -> int:
    return len(text) if isinstance(text, str) else len(text[0]) + len(text[1])
