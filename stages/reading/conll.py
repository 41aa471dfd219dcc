"""Words and their tags in columns, as CoNLL's shared tasks have them: a word a line, a blank line after each sentence.

-DOCSTART- -X- O O          a document begins; its sentences belong together

Ada       NNP B-NP B-PER    the first column is the word, the last one its tag
Lovelace  NNP I-NP I-PER
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from stages.reading.lines import Fault, Line

DOCUMENT = "-DOCSTART-"


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
    """The sentences of a file. Columns are separated by tabs where a line has one, otherwise by white space.

    A sentence of which a line cannot be read, or has another number of columns than the file's first, is a fault.
    """
    columns: int | None = None
    document, marked = 0, False
    block: list[Line] = []
    for line in _with_an_end(lines):
        text = line.text.strip()
        if text and not text.startswith(DOCUMENT):
            columns = columns or len(_columns(line.text))
            block.append(line)
            continue
        if block:
            document += not marked
            yield _sentence(block, document, columns or 0)
            block = []
        if text:
            document, marked = document + 1, True


def _with_an_end(lines: Iterable[Line]) -> Iterator[Line]:
    number = 0
    for line in lines:
        number = line.number
        yield line
    yield Line(number + 1, "", None)


def _columns(text: str) -> list[str]:
    text = text.rstrip("\r\n")
    return text.split("\t") if "\t" in text else text.split()


def _sentence(block: list[Line], document: int, columns: int) -> Sentence:
    place, rows = block[0].number, []
    for line in block:
        row = _columns(line.text)
        fault = line.fault
        if fault is None and (len(row) != columns or columns < 2 or not row[0].strip() or not row[-1].strip()):
            found = f"line {line.number} has {len(row)} columns, the file's first {columns}"
            fault = Fault("ragged", f"{found}. Allowed: a word, and in the last column its tag, on each line.")
        if fault is not None:
            return Sentence(place, document, (), (), fault, block[0].text)
        rows.append(row)
    return Sentence(place, document, tuple(row[0] for row in rows), tuple(row[-1].strip() for row in rows))
