"""Source `docstring_questions`: what a numpydoc docstring says of its parameters, and a question that it answers.

    axis : {0, 1}, default 0 The axis along which to sum. out : ndarray Where to put it.    the text
    What is the default of axis?                                                            the question
    0                                                                                       its answer

Questions are made from the form of the docstring, the answers are its authors' own words. Of three questions about a
default, one has no answer: the text names the parameter, and no default. How files are chosen and rows are drawn:
stages/reading/libraries.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from stages.core.contracts import RawRow
from stages.reading.libraries import Library, docstrings, order, reader
from stages.reading.numpydoc import OPTIONAL, Entry, entries, may_have_entries

SECTIONS = ("Parameters", "Returns", "Attributes")
ASKED = {
    "default": ("What is the default of {name}?", "What does {name} default to?", "Which value has {name} by itself?"),
    "type": ("What type is {name}?", "What may {name} be?", "Of what kind is {name}?"),
    "meaning": ("What is {name}?", "What does {name} mean?", "What is {name} for?"),
    "returned": ("What does {name} return?", "What is the result of {name}?", "What comes back from {name}?"),
}  # fmt: skip
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]*\w)"
_VALUE = rf"\"[^\"\n]*\"|'[^'\n]*'|\([^()\n]*\)|\[[^\[\]\n]*\]|\{{[^{{}}\n]*\}}|{_NUMBER}|[-+]?\w+(?:[.-]\w+)*"
_DEFAULT = re.compile(rf",?\s*\(?(?:by )?defaults?\b(?: value)?(?: is| to|:|\s*=)?\s*({_VALUE})\)?", re.IGNORECASE)
_IN_WORDS = re.compile(rf"\b[Dd]efaults?(?: value)? (?:is|to) ({_VALUE})(?=[\s.,;)]|$)")
_SENTENCE = re.compile(r".+?[.!?](?=\s|$)")


class Question(NamedTuple):
    """A question, and where in the text its answer begins; None: it is not there."""

    text: str
    start: int | None
    answer: str = ""


def rows_of(source: bytes, path: str, library: Library) -> list[RawRow]:
    """A row for each numpydoc docstring of a file, in the order of a hash.

    Raises SyntaxError where the source is none.
    """
    if not may_have_entries(source):
        return []
    found = []
    for origin, docstring in docstrings(source, path):
        function = origin.rpartition(":")[2].rpartition(".")[2].partition("#")[0]
        text, questions = asked(entries(docstring, SECTIONS), function)
        if not questions or not library.min_chars <= len(text) <= library.max_chars:
            continue
        one = min(questions, key=lambda each: order(library.seed, f"{origin} {each.text}"))
        answers = [] if one.start is None else [{"text": one.answer, "answer_start": one.start}]
        found.append(RawRow(text, json.dumps(answers), origin, group=path, text_pair=one.text))
    return sorted(found, key=lambda row: order(library.seed, row.origin))


def asked(found: Sequence[Entry], function: str) -> tuple[str, list[Question]]:
    """The text that the entries make, and the questions that it answers, or names and does not answer."""
    text = ""
    questions: list[Question] = []
    for entry in found:
        begin = len(text) + bool(text)
        shown = f"{entry.name} : {entry.kind}" if entry.kind else entry.name
        text = f"{text} {shown} {entry.words}".strip()
        kind_at, words_at = begin + len(entry.name) + 3, begin + len(shown) + 1
        questions += _about(entry, function, kind_at, words_at)
    there = (one.start is None or (one.answer and text[one.start :].startswith(one.answer)) for one in questions)
    return text, [one for one, is_there in zip(questions, there, strict=True) if is_there]


def _about(entry: Entry, function: str, kind_at: int, words_at: int) -> Iterator[Question]:
    sentence = _SENTENCE.match(entry.words)
    if entry.section == "Returns":
        if sentence:
            yield Question(_said("returned", function), words_at, sentence[0].rstrip("."))
        return
    if sentence:
        yield Question(_said("meaning", entry.name), words_at, sentence[0].rstrip("."))
    if "," in entry.name:
        return
    default = _DEFAULT.search(entry.kind)
    if default:
        yield Question(_said("default", entry.name), kind_at + default.start(1), default[1])
    elif in_words := _IN_WORDS.search(entry.words):
        yield Question(_said("default", entry.name), words_at + in_words.start(1), in_words[1])
    elif entry.kind and "default" not in f"{entry.kind} {entry.words}".lower():
        yield Question(_said("default", entry.name), None)
    kind = OPTIONAL.sub("", _DEFAULT.sub("", entry.kind)).strip(" ,")
    if kind and entry.kind.startswith(kind) and "default" not in kind.lower():
        yield Question(_said("type", entry.name), kind_at, kind)


def _said(what: str, name: str) -> str:
    """One of the ways to ask; the name alone says which."""
    ways = ASKED[what]
    return ways[order(0, f"{what} {name}")[0] % len(ways)].format(name=name)


read = reader(rows_of)
