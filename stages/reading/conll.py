"""Words and their tags in columns, as CoNLL's shared tasks have them: a word a line, a blank line after each sentence.

-DOCSTART- -X- O O          a document begins; its sentences belong together

Ada       NNP B-NP B-PER    the first column is the word, the last one its tag
Lovelace  NNP I-NP I-PER
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from stages.reading.lines import Fault, Line

DOCUMENT = "-DOCSTART-"
COMMENT = "#"
CUT = "take the numbers out (cut -f 2-)"
_TAG = re.compile(r"O|[BIESLU]-.+")
_BLANKS = re.compile(" +")  # a no-break space may stand within a word: 10 000


class Sentence(NamedTuple):
    """The words of a sentence with their tags, or its first fault."""

    place: int
    """The line that it starts on, from 1."""
    document: int
    """The number of its document, from 1; without marks of documents, each sentence is one of its own."""
    words: tuple[str, ...]
    tags: tuple[str, ...]
    fault: Fault | None = None
    start: str = ""
    """Its first line, where there is a fault."""


def sentences(lines: Iterable[Line]) -> Iterator[Sentence]:
    """The sentences of a file. Columns are separated by tabs where a line has one, otherwise by blanks.

    A sentence of which a line cannot be read, or has another number of columns than the file's first, is a fault. Lines
    before a sentence that begin with #, and whose last column is no tag, are comments.
    """
    columns: int | None = None
    document, marked, numbered = 0, False, False
    block: list[Line] = []
    for line in _with_an_end(lines):
        text = line.text.strip()
        if text and not text.startswith(DOCUMENT):
            block.append(line)
            continue
        if words := _without_comments(block, columns):
            own = len(_columns(words[0].text))
            columns = columns or (own if own > 1 else None)
            document += not marked
            sentence = _sentence(words, document, columns or own, numbered=numbered)
            numbered = numbered or (sentence.fault is not None and sentence.fault.detail.endswith(CUT))
            yield sentence
        block = []
        if text:
            document, marked = document + 1, True


def _without_comments(block: Sequence[Line], columns: int | None) -> list[Line]:
    """The lines of words."""
    last = block[-1].text if block else ""
    count = columns if last.startswith(COMMENT) else len(_columns(last))

    def is_comment(line: Line) -> bool:
        row = _columns(line.text)
        return line.text.startswith(COMMENT) and (len(row) != count or not _TAG.fullmatch(row[-1].strip()))

    return list(itertools.dropwhile(is_comment, block))


def _with_an_end(lines: Iterable[Line]) -> Iterator[Line]:
    number = 0
    for line in lines:
        number = line.number
        yield line
    yield Line(number + 1, "", None)


def _columns(text: str) -> list[str]:
    text = text.rstrip("\r\n")
    if "\t" in text:
        return text.split("\t")
    return _BLANKS.split(inner) if (inner := text.strip(" ")) else []


def _sentence(block: Sequence[Line], document: int, columns: int, *, numbered: bool) -> Sentence:
    """A sentence; in a file that was found to be `numbered`, a single word that is 1 is a fault, too."""
    place, rows = block[0].number, [_columns(line.text) for line in block]
    faults = (line.fault or _fault(row, line.number, columns) for line, row in zip(block, rows, strict=True))
    fault = next((one for one in faults if one), None)
    words = tuple(row[0] for row in rows)
    counting = tuple(str(at + 1) for at in range(len(words)))
    if fault is None and columns > 2 and words == counting and (numbered or len(words) > 1):
        told = f"line {place}: the first column counts the words, 1, 2, and so on"
        fault = Fault("ragged", f"{told}. The word must stand there: {CUT}")
    if fault is not None:
        return Sentence(place, document, (), (), fault, block[0].text)
    return Sentence(place, document, words, tuple(row[-1].strip() for row in rows))


def _fault(row: Sequence[str], number: int, columns: int) -> Fault | None:
    """What is wrong with the columns of a line."""
    found = f"{len(row)} column{'s' * (len(row) != 1)}"
    if len(row) != columns:
        told = f"has {found}, the file's first {columns}"
    elif columns < 2:
        told = f"has {found}: separated by tabs or blanks"
    elif not row[0].strip() or not row[-1].strip():
        told = f"has no {'word' if row[-1].strip() else 'tag'}"
    else:
        return None
    return Fault("ragged", f"line {number} {told}. Allowed: a word, and in the last column its tag, on each line")
