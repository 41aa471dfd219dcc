"""Questions in nested JSON, as SQuAD has them: articles of paragraphs of questions. A question is a row.

    {"version": "v2.0",
     "data": [{"title": "Denver",
               "paragraphs": [{"context": "The Broncos are ...",
                               "qas": [{"id": "57", "question": "Who ...?", "is_impossible": false,
                                        "answers": [{"text": "The Broncos", "answer_start": 0}]}]}]}]}

A row has the values of its question, its paragraph and its article, each by its name: `question`, `context`, `title`.
The file is read as a whole.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

from stages.reading.errors import one_line
from stages.reading.lines import Fault

LEVELS = ("paragraphs", "qas")  # the arrays within an article, the outer one first
LOOKED_AT = 1 << 16  # bytes at the start of a file
# An array of objects `data` before any other array or object, or one of LEVELS.
_STARTS = re.compile(r'\s*\{([^\[\]{}]*"data"\s*:\s*\[\s*[{\]]|.*?"(paragraphs|qas)"\s*:\s*\[\s*\{)', re.DOTALL)
# Half a surrogate pair, which is no character. Those between stand for bytes that the encoding has no character for.
_HALF = re.compile("[\ud800-\udbff\udd00-\udfff]")
LAYOUT = '{"data": [{"paragraphs": [{"context": ..., "qas": [{"id": ..., "question": ..., "answers": [...]}]}]}]}'
KINDS = {dict: "an object", list: "an array", str: "a text", type(None): "null", bool: "true or false"}


class Question(NamedTuple):
    """A row, or what should have been one."""

    at: str
    """Its place: "data[0].paragraphs[2].qas[1]", with its id."""
    values: Mapping[str, Any]
    """Those of its question, its paragraph and its article; of a fault those that were found."""
    fault: Fault | None = None

    @property
    def start(self) -> str:
        """Its values as JSON, for an excerpt."""
        return _HALF.sub("\ufffd", json.dumps(self.values, ensure_ascii=False))


def is_nested(stream: BinaryIO, encoding: str) -> bool:
    """Whether the file is one object of this layout, and no lines of objects, by its start; `stream` is left there."""
    start = stream.read(LOOKED_AT).decode(encoding, "ignore").removeprefix("\ufeff")
    stream.seek(0)
    return _STARTS.match(start) is not None and not _is_of_lines(start)


def _is_of_lines(start: str) -> bool:
    """Whether the first line is a whole object, and something follows it."""
    first, _, rest = start.lstrip().partition("\n")
    if not rest.strip():
        return False
    try:
        json.loads(first)
    except ValueError:
        return False
    return True


def questions(stream: BinaryIO, encoding: str, shown: str) -> Iterator[Question]:
    """The questions of a file, in its order.

    A part that is not of the layout is one fault, whatever it holds. Raises ValueError, with the place in the file
    `shown`, where it is no JSON, and where it has no array `data`.
    """
    seen: set[str] = set()
    for number, article in enumerate(_articles(stream, encoding, shown)):
        for question in _within(article, f"data[{number}]", {}, LEVELS):
            yield question if question.fault else _checked(question, seen)


def _articles(stream: BinaryIO, encoding: str, shown: str) -> list[Any]:
    text = stream.read().decode(encoding, "winnow_keep_bytes").removeprefix("\ufeff")
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{shown}, line {error.lineno}, column {error.colno}: not JSON: {error.msg}. Was the file written to its"
            " end? Write or fetch it again."
        ) from None
    except RecursionError as error:
        raise ValueError(f"{shown}: not JSON that can be read: {one_line(error)}. Expected {LAYOUT}.") from None
    articles = found.get("data") if isinstance(found, dict) else None
    if isinstance(articles, list):
        return articles
    names = list(found) if isinstance(found, dict) else []
    what = f"`data` is {_kind(articles)}" if "data" in names else f"no `data`. Found: {_listed(names)}"
    raise ValueError(f"{shown}: {what}.{_guess('data', names)} Expected {LAYOUT}, or an object a line, as of .jsonl.")


def _within(found: Any, at: str, values: Mapping[str, Any], levels: Sequence[str]) -> Iterator[Question]:
    """The questions in an article, a paragraph or a question, which has the `levels` beneath it."""
    if not isinstance(found, dict):
        yield Question(at, {}, Fault("not_an_object", f"{_kind(found)}, expected an object. The layout is {LAYOUT}"))
        return
    own = {**values, **{name: value for name, value in found.items() if name not in LEVELS}}
    if not levels:
        yield Question(f"{at} (id {found['id']!r})" if isinstance(found.get("id"), str) else at, own)
        return
    members = found.get(levels[0])
    if not isinstance(members, list):
        what = f"`{levels[0]}` is {_kind(members)}, expected an array" if levels[0] in found else f"no `{levels[0]}`"
        guess = _guess(levels[0], list(found))
        reason = "wrong_type" if levels[0] in found else "missing_column"
        yield Question(at, own, Fault(reason, f"{what}. Found: {_listed(list(found))}.{guess} The layout is {LAYOUT}"))
        return
    for number, member in enumerate(members):
        yield from _within(member, f"{at}.{levels[0]}[{number}]", own, levels[1:])


def _checked(question: Question, seen: set[str]) -> Question:
    """The question, with the fault that its own values show; `seen` are the ids of those before it."""
    values = dict(question.values)
    if values.get("is_impossible") is True:
        values.setdefault("answers", [])
    fault = next(_faults(values, seen), None)
    if isinstance(values.get("id"), str):
        seen.add(values["id"])
    return Question(question.at, values, fault)


def _faults(values: Mapping[str, Any], seen: set[str]) -> Iterator[Fault]:
    name, impossible, answers = (values.get(key) for key in ("id", "is_impossible", "answers"))
    if _HALF.search(json.dumps(values, ensure_ascii=False)):
        yield Fault("not_json", "half a surrogate pair (\\ud800 to \\udfff) is no character. Write the file again")
    if isinstance(name, str) and name in seen:
        yield Fault("repeated_id", "a question before it has the same id. Give each its own, or take one of them out")
    if impossible is not None and not isinstance(impossible, bool):
        yield Fault("wrong_type", f"`is_impossible` is {_kind(impossible)}. Allowed: true, false")
    if impossible is True and answers:
        yield Fault("bad_target", "`is_impossible` is true, and it has answers. Make it false, or its answers []")
    if impossible is False and answers == []:
        yield Fault("bad_target", "`is_impossible` is false, and it has no answers. Make it true, or give it one")


def _kind(found: Any) -> str:
    return KINDS.get(type(found), "a number")


def _listed(names: Sequence[str]) -> str:
    return _HALF.sub("\ufffd", ", ".join(name[:40] for name in names[:20])) or "nothing"


def _guess(wanted: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(wanted, names, n=1)
    return f" Did you mean '{near[0]}'?" if near else ""
