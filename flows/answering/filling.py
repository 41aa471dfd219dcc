"""A file to a file of answers: its rows in order, each with its answer or the reason that it has none.

    Source ── batches ──> runner ──> rows + answer, probability, top_1 ..., error ──> draft ──> OUT
                                                                    ended early └──> OUT's name with .partial

Memory is bounded: a batch is read while the one before is answered, and no more is held.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from flows.answering.reading import Source, SourceRow
from flows.answering.shaped import top_of, unsure
from flows.answering.writing import Schema, Writer, open_writer
from flows.cli.answers import Row, Unanswered, asked_of
from flows.running.signals import ending_signals_raise
from stages.backends.records import records
from stages.core.contracts import Runner, Text
from stages.tasks.contract import TaskAnswers

BATCH = 2048  # rows that are answered together: the more, the more of them are equally long and share a run
BATCH_CHARS = 4_000_000  # fewer rows, where they are long
ANSWER, PROBABILITY, ERROR = "answer", "probability", "error"
OURS = "predicted_"  # before a name of ours that the file has as well
WRITTEN = 64  # rows that are written together: each takes a step of the model for every token
WRITTEN_ENTRY = "written"  # of a record: the whole text that a model wrote
DIGITS = 6  # of a probability
_IN_NUMBERS = re.compile(r"\t(?:[\d.]+(?:; [\d.]+)*|-)$")  # what follows an answer in a line: its probabilities
WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)  # what filesystems say that have none, as some over a network
PROBE = "a"  # a text to see by what an answer of the model looks like


class Asking(NamedTuple):
    """A model, and what is wanted of it."""

    runner: Runner
    task: TaskAnswers
    are_pairs: bool
    reads_images: bool = False
    """Whether rows name files of images."""
    threshold: float | None = None
    """Answers of less confidence are withheld."""
    top: int = 0
    """So many of the likeliest labels are written."""


class Filled(NamedTuple):
    """What became of the rows of a file."""

    unanswered: Unanswered
    """Those that could not be read, or were empty."""
    withheld: int
    """Those whose answer was under the threshold."""


class Look(NamedTuple):
    """What the answers of a model look like in a file."""

    number: bool
    """Whether an answer is a number."""
    lists: tuple[str, ...]
    """The entries of a record that are lists, of spans say: each is a column of JSON."""


def fill(source: Source, asking: Asking, out: str, on_rows: Callable[[int], object]) -> Filled:
    """Answer all rows into the file `out` ("-": csv on the standard output); `on_rows` is called with their number.

    A row that cannot be answered is written with its reason. `out` appears when all is done. Where reading or writing
    fails, or a signal ends it, the rows written so far stay beside it, and the error, of the same kind, says where.
    """
    look = _look(asking)
    names = _names(source.columns, look, asking)
    filled = _Filling(asking, look, names)
    schema: Schema = {**source.columns, **_types(names, look)}
    with _published(out, schema) as writer:
        for rows in filled.answered(source.rows):
            writer.write(rows)
            on_rows(len(rows))
    return Filled(filled.unanswered, filled.withheld)


def _look(asking: Asking) -> Look:
    if WRITTEN_ENTRY in asking.task.nothing:
        return Look(number=False, lists=())
    if asking.reads_images:  # there is none to probe with
        return Look(number=asking.are_pairs, lists=())
    probe: Text = (PROBE, PROBE) if asking.are_pairs else PROBE
    record = asking.task.record(asking.runner.predict([probe]), 0, PROBE, asking.runner.space)
    lists = tuple(name for name, value in record.items() if _is_list(name, value, asking.task))
    return Look(_only_number(record) is not None, lists)


def _is_list(name: str, value: Any, task: TaskAnswers) -> bool:
    """Whether an entry of a record is a list of objects, which an empty one is taken for."""
    return name in task.nothing and isinstance(value, list) and all(isinstance(one, Mapping) for one in value)


def _only_number(record: Mapping[str, Any]) -> float | None:
    """The number that an answer is; None where it is anything else."""
    (value, *others) = record.values()
    return value if not others and isinstance(value, float) else None


def _names(taken: Mapping[str, Any], look: Look, asking: Asking) -> dict[str, str]:
    """Our columns by what they hold, each by a name that the file does not have."""
    top = [name for at in range(1, asking.top + 1) for name in (f"top_{at}", f"{PROBABILITY}_{at}")]
    sure = [PROBABILITY] if asking.task.confidence or {PROBABILITY, WRITTEN_ENTRY} <= asking.task.nothing.keys() else []
    return {name: _free(name, taken) for name in (ANSWER, *sure, *look.lists, *top, ERROR)}


def _free(name: str, taken: Mapping[str, Any]) -> str:
    return _free(OURS + name, taken) if name in taken else name


def _types(names: Mapping[str, str], look: Look) -> dict[str, pa.DataType | None]:
    numbers = {ANSWER} if look.number else set()
    return {
        shown: pa.float64() if name in numbers or name.startswith(PROBABILITY) else None
        for name, shown in names.items()
    }


class _Filling:
    """Answers batches, one ahead, and counts."""

    def __init__(self, asking: Asking, look: Look, names: Mapping[str, str]) -> None:
        self._asking, self._look, self._names = asking, look, names
        self._are_ours = all(name == shown for name, shown in names.items())
        self.unanswered = Unanswered()
        self.withheld = 0

    def answered(self, rows: Iterator[SourceRow]) -> Iterator[list[dict[str, Any]]]:
        """Rows of the output, a batch at a time. The model works in a thread of its own, which needs no lock mostly."""
        with ThreadPoolExecutor(1) as pool:
            before: tuple[list[SourceRow], Future[tuple[list[Row], list[dict[str, Any]]]]] | None = None
            for batch in batches(rows, WRITTEN if self._asking.runner.written else BATCH):
                asked = pool.submit(self._answers, [one.row for one in batch])
                if before is not None:
                    yield self._merged(*before)
                before = batch, asked
            if before is not None:
                yield self._merged(*before)

    def _merged(
        self, batch: Sequence[SourceRow], asked: Future[tuple[list[Row], list[dict[str, Any]]]]
    ) -> list[dict[str, Any]]:
        judged, answers = asked.result()
        found, rows = iter(answers), []
        for one, row in zip(batch, judged, strict=True):
            self.unanswered.add(row)
            own = next(found) if row.fault is None else {ANSWER: None, ERROR: f"{row.where}: {row.fault.detail}"}
            rows.append({**one.own, **(own if self._are_ours else self._renamed(own))})
        return rows

    def _renamed(self, own: Mapping[str, Any]) -> dict[str, Any]:
        return {self._names[name]: value for name, value in own.items()}

    def _answers(self, rows: Sequence[Row]) -> tuple[list[Row], list[dict[str, Any]]]:
        """The rows, with faults that the model finds, and our columns of those without a fault."""
        runner, task, threshold, top = self._asking.runner, self._asking.task, self._asking.threshold, self._asking.top
        judged, texts, outputs = asked_of(rows, runner)
        if outputs is None:
            return judged, []
        sure: Sequence[float | None] = [None] * len(texts)
        if task.confidence:
            known = task.confidence(outputs, task.answers(outputs, runner.space), runner.space)
            sure = known.astype(np.float64).tolist()
        found = zip(records(outputs, texts, task, runner.space), sure, strict=True)
        return judged, [self._columns(record, confidence, threshold, top) for record, confidence in found]

    def _columns(
        self, record: Mapping[str, Any], confidence: float | None, threshold: float | None, top: int
    ) -> dict[str, Any]:
        own: dict[str, Any] = {}
        if confidence is not None:
            own[PROBABILITY] = round(confidence, DIGITS)
        for at, one in enumerate(top_of(record, top) if top else (), start=1):
            own[f"top_{at}"], own[f"{PROBABILITY}_{at}"] = one["label"], round(one["probability"], DIGITS)
        if threshold is not None and confidence is not None and confidence < threshold:
            self.withheld += 1
            return {ANSWER: None, **own, ERROR: unsure(confidence, threshold)}
        answer = record.get(WRITTEN_ENTRY)
        if answer is None:
            number = _only_number(record) if self._look.number else None
            answer = _IN_NUMBERS.sub("", self._asking.task.shown(record)) if number is None else number
        elif PROBABILITY in record:
            own[PROBABILITY] = record[PROBABILITY]
        return {ANSWER: answer, **own, **{name: record[name] for name in self._look.lists}, ERROR: None}


def batches(rows: Iterator[SourceRow], most: int = BATCH) -> Iterator[list[SourceRow]]:
    """Rows in batches of `most` rows, and BATCH_CHARS characters of texts but for one row alone."""
    batch: list[SourceRow] = []
    chars = 0
    for one in rows:
        batch.append(one)
        chars += sum(len(text) for text in one.row.texts if text)
        if len(batch) == most or chars > BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


class _Counted:
    """A writer, and how many rows it has written."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.rows = 0

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._writer.write(rows)
        self.rows += len(rows)

    def close(self) -> None:
        self._writer.close()


@contextlib.contextmanager
def _published(out: str, schema: Schema) -> Iterator[Writer]:
    """A writer of `out`, which takes its place when all is written; else what is there stays beside it, and is told."""
    if out == "-":
        writer = open_writer(out, Path(), schema)
        yield writer
        writer.close()
        return
    path = Path(out).resolve() if Path(out).is_symlink() else Path(out)
    draft = path.with_name(f".{path.name}.draft")
    with _alone(draft, path), ending_signals_raise():
        counted: _Counted | None = None
        try:
            mode = stat.S_IMODE(path.stat().st_mode) if path.is_file() else None
            if mode is not None:
                with contextlib.suppress(OSError):  # of a file system without modes
                    draft.chmod(mode | stat.S_IWUSR)  # rows that nobody else may read stay so
            counted = _Counted(open_writer(out, draft, schema))
            yield counted
            counted.close()
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            there = f"{_kept(counted, draft, path)}; {out} was not touched."
            if isinstance(error, SystemExit):  # of a signal
                error.add_note(f"ended: {there}")
                raise
            raise _told(error, there) from error
        if mode is not None:
            with contextlib.suppress(OSError):
                draft.chmod(mode)
        draft.replace(path)


@contextlib.contextmanager
def _alone(draft: Path, path: Path) -> Iterator[None]:
    """Keep the draft for this process. Raises ValueError where another one writes it."""
    while True:
        with draft.open("ab") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(
                    f"-o {path}: another process is writing it. Wait until it has ended, or give another name."
                ) from None
            except OSError as error:
                if error.errno not in WITHOUT_LOCKS:
                    raise
            if not _is_at(held.fileno(), draft):
                continue  # the other one ended in between, and took its draft along
            yield
            return


def _is_at(number: int, path: Path) -> bool:
    """Whether the open file is the one at that place."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(number), path.stat())
    return False


def _kept(writer: _Counted | None, draft: Path, path: Path) -> str:
    """Where the rows written so far are now, in words."""
    rows = 0
    if writer is not None:
        with contextlib.suppress(Exception):  # of a full disk, say: nothing there can be relied on
            writer.close()
            rows = writer.rows
    if rows == 0:
        draft.unlink(missing_ok=True)
        return "no answers were written"
    stem, dot, endings = path.name.partition(".")
    numbers = itertools.chain([""], (f"-{at}" for at in itertools.count(2)))
    names = (f"{stem}.partial{number}{dot}{endings}" for number in numbers)
    kept = next(free for name in names if not (free := path.with_name(name)).exists())  # what is there may be the input
    draft.replace(kept)
    return f"the answers to the first {rows:,} rows are in {kept}"


def _told(error: BaseException, there: str) -> BaseException:
    """An error of the same kind that says what is there."""
    if isinstance(error, KeyboardInterrupt):
        return KeyboardInterrupt(f"interrupted: {there}")
    kind = next((kind for kind in (ValueError, OSError) if isinstance(error, kind)), RuntimeError)
    return kind(f"{str(error).rstrip('.')}: {there}")
