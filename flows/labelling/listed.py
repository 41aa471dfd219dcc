"""The rows that a person was given, kept in the project so that what comes back can be checked against them.

    propose, errors ── a list for a person ──> csv or page ── filled ──> take
            └── the same rows, with their origin ──> artifacts/labelling/listed.jsonl ──┘

A spreadsheet changes cells: it makes numbers of ids such as 12e4, and runs a text that begins with = as a formula. So
such a text is written behind an apostrophe, which `unescaped` takes away, and a row is also found by its text.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from flows.running.locks import one_at_a_time
from stages.core.contracts import Text
from stages.core.files import publish
from stages.core.paths import Paths

ROW_ID, TEXT, TEXT_PAIR, LABEL, DROP = "row_id", "text", "text_pair", "label", "drop"
"""The columns of a list that are read again; `drop` is of lists of doubted rows."""
BETWEEN = "\x1f"  # the two texts of a pair in its key
_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?(e[-+]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Listed:
    """A row of a list."""

    row_id: str
    text: str
    text_pair: str | None = None
    origin: str = ""
    """Where it stands: "tickets.csv:17"."""
    given: str | None = None
    """The target that it has as a training row, which is doubted; None: it has none yet."""
    suggestion: str | None = None
    """The target that a model gives it."""
    kept: Mapping[str, str | None] = field(default_factory=dict)
    """Its values of the columns in ingest.keep_columns."""

    @property
    def asked(self) -> Text:
        """What a model is asked: the text, or both of a pair."""
        return self.text if self.text_pair is None else (self.text, self.text_pair)

    @property
    def key(self) -> str:
        """By which its text is known again."""
        return key_of(self.asked)


def key_of(text: Text) -> str:
    """What a spreadsheet leaves of a text, or a pair, as it is: composed letters, one space for any white space."""
    parts = (text,) if isinstance(text, str) else text
    return BETWEEN.join(" ".join(unicodedata.normalize("NFC", unescaped(part)).split()) for part in parts)


def escaped(cell: str) -> str:
    """The cell, behind an apostrophe where a spreadsheet would run it as a formula; numbers stay."""
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


def unescaped(cell: str) -> str:
    """The cell without such an apostrophe."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell


def record_of(paths: Paths) -> Path:
    """The file of all rows that were listed; no out of DVC's, and ignored by git."""
    return paths.root / "artifacts/labelling/listed.jsonl"


def remember(paths: Paths, rows: Sequence[Listed]) -> None:
    """Add rows to those that were listed; of a row that was before the newer stays."""
    with one_at_a_time(paths.locks / "labelling.lock", lambda _: None):
        known = {row.row_id: row for row in (*listed(paths), *rows)}
        with publish(record_of(paths)) as draft:
            draft.write_text("".join(_lines(known.values())), encoding="utf-8")


def _lines(rows: Iterable[Listed]) -> Iterator[str]:
    for row in rows:
        yield f"{json.dumps(asdict(row), ensure_ascii=True)}\n"


def listed(paths: Paths) -> list[Listed]:
    """All rows that were listed. Raises ValueError where their file was changed."""
    path = record_of(paths)
    if not path.is_file():
        return []
    try:
        return [Listed(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} is not as it was written ({error}). Remove it, and have the rows listed anew."
        ) from None
