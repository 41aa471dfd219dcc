"""A list that somebody has filled, taken back: each row is checked, and the good ones are kept.

FILE ── a row ──> left out (no label) | a fault, with its line and what to do | taken
                                    proposed rows  ──> labelled.csv, which ingest can read
                                    doubted rows   ──> corrections.csv: relabelled, dropped, or right as they are
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from flows.answering.reading import SourceRow, open_table
from flows.cli.asked import MAX_CHARS, Columns, is_table
from flows.labelling.listed import DROP, LABEL, ROW_ID, TEXT, TEXT_PAIR, Listed, key_of, listed, unescaped
from stages.core import plugins
from stages.core.contracts import RawRow, RejectedRow, as_text
from stages.core.paths import Paths
from stages.reading.storage import local_file
from stages.tasks import TASKS
from stages.tasks.contract import TaskData

YES = frozenset({"x", "1", "yes", "y", "true", "drop"})  # in the column `drop`
NO = frozenset({"", "0", "no", "n", "false"})
SHOWN = 60  # characters of a cell in a message


class Taken(NamedTuple):
    """A row with what somebody says of it."""

    row: Listed
    target: str | None
    """Its target; None: the row is to be dropped."""


@dataclass(frozen=True)
class Checked:
    """What is in a filled list."""

    taken: list[Taken] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """A line for each row that is wrong: where, what, and what to do."""
    empty: int = 0
    """Rows without a label, which are left out."""
    doubles: int = 0
    """Rows that say the same as one before them."""
    found_by_text: int = 0
    """Rows whose id was changed, and whose text is that of one row."""
    rows: int = 0


class _FaultError(ValueError):
    """What is wrong with a row."""


class Checker:
    """Checks rows against those that were listed."""

    def __init__(self, known: Sequence[Listed], data: TaskData, classes: Collection[str] | None) -> None:
        """`classes`: those that targets may have; None: any."""
        self._by_id = {row.row_id: row for row in known}
        self._by_text: dict[str, list[Listed]] = {}
        for row in known:
            self._by_text.setdefault(row.key, []).append(row)
        self._data, self._classes = data, classes

    def taken(self, own: Mapping[str, str]) -> tuple[Taken, bool]:
        """The row, and whether it was found by its text alone. Raises ValueError with what is wrong."""
        row, by_text = self._row(own)
        return Taken(row, self._target(own, row)), by_text

    def _row(self, own: Mapping[str, str]) -> tuple[Listed, bool]:
        name = unescaped(own.get(ROW_ID, "").strip())
        text, second = own.get(TEXT, ""), own.get(TEXT_PAIR)
        key = key_of(text if not second else (text, second))
        if (row := self._by_id.get(name)) is not None:
            if key != row.key:
                raise _FaultError(
                    f"the text of row {name} is another one than was listed: {_cut(text)!r}, and it was"
                    f" {_cut(row.text)!r}. Put it back; a changed text is another row."
                )
            return row, False
        if len(found := self._by_text.get(key, [])) == 1:
            return found[0], True
        raise _FaultError(
            f"no row of the id {name[:SHOWN]!r} was listed in this project, nor one with its text. Take rows from lists"
            " that `winnow label` wrote here, with their ids."
        )

    def _target(self, own: Mapping[str, str], row: Listed) -> str | None:
        label, drop = unescaped(own.get(LABEL, "").strip()), own.get(DROP, "").strip().lower()
        if drop not in NO | YES:
            raise _FaultError(f"the column '{DROP}' has {_cut(drop)!r}. Allowed: x to drop the row, or nothing.")
        if drop in YES:
            if label:
                raise _FaultError(f"it has a label ({_cut(label)!r}) and is to be dropped. Say one of both.")
            if row.given is None:
                raise _FaultError("it has no label yet, so there is nothing to drop. Leave its label empty instead.")
            return None
        return self._canonical(label, row)

    def _canonical(self, label: str, row: Listed) -> str:
        (read,) = self._data.read([RawRow(row.text, label, row.origin, text_pair=row.text_pair)])
        if isinstance(read, RejectedRow):
            raise _FaultError(read.detail.rstrip(".") + ".")
        if read.label is None:
            raise _FaultError(f"the label {_cut(label)!r} shows nothing. Give one, or leave it empty.")
        if self._classes is not None:
            for kind in self._data.kinds(read.label):
                if kind not in self._classes:
                    raise _FaultError(_unknown(kind, self._classes))
        return read.label


def _unknown(label: str, allowed: Collection[str]) -> str:
    names = sorted(allowed)
    lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(label.lower(), lower, n=1)
    guess = f" Did you mean {lower[near[0]]!r}?" if near else ""
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    told = f"no training row has the label {_cut(label)!r}. Allowed: {shown}.{guess}"
    return f"{told} New ones are taken by --new-labels."


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def listed_here(paths: Paths, file: str) -> list[Listed]:
    """The rows that were listed in this project. Raises FileNotFoundError where none were."""
    known = listed(paths)
    if not known:
        raise FileNotFoundError(
            f"no list was made in {paths.root}, so there is nothing to check {file} against. Make one with `winnow"
            " label propose` or `winnow label errors`; of a list made in another clone, take it in that one."
        )
    return known


def check(
    known: Sequence[Listed], file: str, task: str, classes: Collection[str] | None, tell: Callable[[str], object]
) -> Checked:
    """What is in the list `file`, of rows `known` to have been listed. Nothing is written.

    Raises FileNotFoundError or ValueError where it cannot be read as a whole, or has not the columns of a list.
    """
    data: TaskData = plugins.part(TASKS, task, "data", key="task.name")
    return _checked(_rows(file, tell), Checker(known, data, classes))


def _rows(file: str, tell: Callable[[str], object]) -> Iterator[SourceRow]:
    if not Path(file).is_file():
        raise FileNotFoundError(f"there is no file {file}. Give the list that was filled.")
    if not is_table(file):
        raise ValueError(f"{file} is no table. Save it as csv (of a spreadsheet: UTF-8), tsv, jsonl or parquet.")
    columns = Columns({"--text-column": TEXT}, "auto", MAX_CHARS, has_params=False)
    source = open_table(file, columns, local_file(Path(file), file).open, tell)
    if lacking := [name for name in (ROW_ID, LABEL) if name not in source.columns]:
        raise ValueError(
            f"{file} has no column {' and no column '.join(map(repr, lacking))}; it has {', '.join(source.columns)}."
            f" Keep the columns {ROW_ID}, {TEXT} and {LABEL} of the list as they are."
        )
    return source.rows


def _checked(rows: Iterator[SourceRow], checker: Checker) -> Checked:
    said: dict[str, tuple[str, Taken]] = {}
    faults: list[str] = []
    counts = dict.fromkeys(("empty", "doubles", "found_by_text", "rows"), 0)
    wrong: set[str] = set()
    for row, own in rows:
        counts["rows"] += 1
        where = row.where
        cells = {name: as_text(value) or "" for name, value in own.items()}
        if row.fault is not None and (not cells or row.fault.reason != "empty"):
            faults.append(f"{where}: {row.fault.detail.rstrip('.')}. Mend the line.")
            continue
        if not cells.get(LABEL, "").strip() and not cells.get(DROP, "").strip():
            counts["empty"] += 1
            continue
        try:
            taken, by_text = checker.taken(cells)
        except _FaultError as error:
            faults.append(f"{where}: {error}")
            continue
        name = taken.row.row_id
        if name not in said:
            said[name] = where, taken
            counts["found_by_text"] += by_text
        elif said[name][1].target == taken.target:
            counts["doubles"] += 1
        else:
            before, other = said[name]
            faults.append(
                f"{where}: row {name} has {_shown(taken.target)}, and {_shown(other.target)} at {before}. Neither is"
                " taken: keep one of both lines."
            )
            wrong.add(name)
    return Checked([one for name, (_, one) in said.items() if name not in wrong], faults, **counts)


def _shown(target: str | None) -> str:
    return "is to be dropped" if target is None else f"the label {_cut(target)!r}"
