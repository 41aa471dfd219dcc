"""How much a request may ask for, and its body as the texts that it asks about.

    body ── JSON ──> {"texts": [...]}, {"text": ...} or {"pairs": [[first, second], ...]} ── each checked ──> texts

Whatever is wrong is told by a `Refused` that names the first place.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from flows.app.refusals import Refused

if TYPE_CHECKING:
    from stages.core.contracts import Generation, Text

TEXTS, PAIRS = "texts", "pairs"
TEXT, SETTINGS = "text", "generation"
TEXT_EXAMPLE = '{"text": "a text", "generation": {"max_new_tokens": 40}}'
SETTINGS_EXAMPLE = 'Send for example {"generation": {"max_new_tokens": 40, "temperature": 0.8}}'
SHOWN = 300  # characters of what was found
STOPS = 16  # stop strings of a request
NAME = 40  # characters that are looked at, and shown, of a name in a request
ONE_EXAMPLE = '{"text": "a text"}'
EXAMPLES = {TEXTS: '{"texts": ["a text", "another"]}', PAIRS: '{"pairs": [["a text", "its second text"]]}'}


@dataclass(frozen=True)
class Limits:
    """The most that is taken."""

    rows: int
    """Texts, or pairs, of one request."""
    characters: int
    """Of one text; of a pair, of each of the two."""
    bytes: int
    """Of the body of one request."""
    waiting: int
    """Rows of all requests that wait for the model."""
    seconds: float
    """From the end of a request's head to its answer; also for that head to come, and for the answer to be taken."""
    held_bytes: int = 256_000_000
    """Of all bodies that are being read; one that is alone may have more."""
    new_tokens: int = 512
    """Of one written text; more where the model says so itself."""
    beams: int = 8
    streams: int = 4
    """Texts that are streamed at the same time."""


def settings_of(asked: Any, usual: Generation | None, limits: Limits) -> Generation | None:
    """How the texts of a request are to be written, by its member SETTINGS, which is taken out; else as `usual`.

    None of a model that writes nothing. Raises Refused (422) for settings that there are not, or too large ones.
    """
    if usual is None or not isinstance(asked, dict) or SETTINGS not in asked:
        return usual
    from stages.backends.runners import adjusted

    given = asked.pop(SETTINGS)
    if not isinstance(given, dict):
        raise _unlike(SETTINGS, given, "an object", SETTINGS_EXAMPLE)
    try:
        found = adjusted(usual, given)
    except ValueError as error:
        raise Refused(422, "settings that text cannot be written with", SETTINGS, str(error)[:SHOWN],
                      ", ".join(usual._fields), SETTINGS_EXAMPLE) from None  # fmt: skip
    for name, value, most in (
        ("max_new_tokens", found.max_new_tokens, max(limits.new_tokens, usual.max_new_tokens)),
        ("beams", found.beams, max(limits.beams, usual.beams)),
        ("stop", len(found.stop), max(STOPS, len(usual.stop))),
    ):
        if value > most:
            raise Refused(422, "more than one text may take", f"{SETTINGS}.{name}", f"{value:,}", f"up to {most:,}",
                          "Ask for less.")  # fmt: skip
    return found


def text_to_stream(body: bytes, usual: Generation, limits: Limits) -> tuple[str, Generation]:
    """The text of a body {"text": ...}, and how what is written for it is to be written. Raises as `texts_of`."""
    asked = _parsed(body)
    how = settings_of(asked, usual, limits)
    assert how is not None
    example = f"Send for example {TEXT_EXAMPLE}"
    if not isinstance(asked, dict):
        raise _unlike("body", asked, "an object", example)
    if asked.keys() != {TEXT}:
        found = ", ".join(shortened(name) for name in asked) or "an empty object"
        raise Refused(422, "there is to be one text", "body", found[:SHOWN], f"'{TEXT}'", example)
    return _text(asked[TEXT], TEXT, limits), how


def texts_of(body: bytes, takes: AbstractSet[str], limits: Limits) -> list[Text]:
    """The texts, or pairs, that a body asks about, of which there is at least one.

    `takes`: TEXTS, PAIRS or both, as the model does. Raises Refused: 400 where the body is no JSON, 422 where it is
    other JSON.
    """
    return texts_to_write(body, takes, limits, None)[0]


def texts_to_write(
    body: bytes, takes: AbstractSet[str], limits: Limits, usual: Generation | None
) -> tuple[list[Text], Generation | None, str]:
    """The same, how is to be written for them, and what they were asked by: TEXT for one text alone, TEXTS or PAIRS.

    `usual`: how is written where the body says nothing else.
    """
    asked = _parsed(body)
    how = settings_of(asked, usual, limits)
    name, rows = _named(asked, takes)
    return _rows_of(name, rows, limits), how, name


def _rows_of(name: str, rows: Any, limits: Limits) -> list[Text]:
    if name == TEXT:
        return [_text(rows, TEXT, limits)]
    if not isinstance(rows, list):
        raise _unlike(name, rows, "a list", _like(name))
    if not 0 < len(rows) <= limits.rows:
        some = "Ask for fewer at a time." if rows else "Give at least one."
        raise Refused(422, "too many rows" if rows else "no rows", name, f"{len(rows):,} rows",
                      f"1 to {limits.rows:,} rows a request", some)  # fmt: skip
    if name == TEXTS:
        return [_text(text, f"{name}[{at}]", limits) for at, text in enumerate(rows)]
    return [_pair(pair, f"{name}[{at}]", limits) for at, pair in enumerate(rows)]


def _parsed(body: bytes) -> Any:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(400, "the body is no text", f"body, byte {error.start}", f"the byte {body[error.start]:#04x}",
                      "JSON in UTF-8", "Encode the body as UTF-8.") from None  # fmt: skip
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        where = f"body, line {error.lineno}, column {error.colno}"
        found = repr(text[error.pos : error.pos + 20]) if text[error.pos :].strip() else "its end"
        raise Refused(400, f"the body is no JSON: {error.msg}", where, found, "JSON", _like()) from None
    except RecursionError:
        raise Refused(400, "the body is nested too deeply", "body", "more levels than can be read",
                      "an object, of a list, of texts or pairs", _like()) from None  # fmt: skip
    except ValueError:  # of a whole number with thousands of digits
        raise Refused(400, "the body has a number that is too long", "body", "a number of thousands of digits",
                      "an object, of a list, of texts or pairs", _like()) from None  # fmt: skip


def _object(members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        twice, times = Counter(name for name, _ in members).most_common(1)[0]
        raise Refused(400, "a name stands twice in one object", f"body, {shortened(twice)}", f"{times} times",
                      "each name once", "Put all rows in one list.")  # fmt: skip
    return found


def _constant(name: str) -> Any:
    raise Refused(400, "the body is no JSON", "body", name, "JSON, which has no such number", _like())


def _like(name: str = TEXTS) -> str:
    return f"Send for example {EXAMPLES[name]}"


def _named(asked: Any, takes: AbstractSet[str]) -> tuple[str, Any]:
    """The name of the only member, and its value; one text alone is called TEXT."""
    known = {*takes, *([TEXT] if TEXTS in takes else [])}
    if isinstance(asked, dict) and len(asked) == 1 and asked.keys() <= known:
        return next(iter(asked.items()))
    example = f"Send for example {' or '.join(EXAMPLES[name] for name in sorted(takes, reverse=True))}"
    names = sorted(known, reverse=True)
    if not isinstance(asked, dict):
        raise _unlike("body", asked, "an object", example)
    allowed = " or ".join(f"'{name}'" for name in names)
    for name in asked:
        if name not in known:
            raise _misnamed(name, names, allowed, example)
    found = "both at once" if asked else "an empty object"
    raise Refused(422, "there is to be one list of rows", "body", found, allowed, example)


def _misnamed(name: str, names: Sequence[str], allowed: str, example: str) -> Refused:
    of_pairs = "the model takes pairs of texts"
    other = {TEXT: of_pairs, TEXTS: of_pairs, PAIRS: "the model takes single texts"}
    near = get_close_matches(name[:NAME], names, 1) if name not in other else []
    step = f"Did you mean '{near[0]}'? {example}" if near else example
    return Refused(422, other.get(name, "an unknown name"), "body", shortened(name), allowed, step)


def _pair(pair: Any, where: str, limits: Limits) -> tuple[str, str]:
    if not isinstance(pair, list):
        raise _unlike(where, pair, "a list of two texts", _like(PAIRS))
    if len(pair) != 2:
        raise Refused(422, "no pair", where, f"{len(pair):,} texts", "two texts", _like(PAIRS))
    first, second = (_text(text, f"{where}[{at}]", limits) for at, text in enumerate(pair))
    return first, second


def _text(text: Any, where: str, limits: Limits) -> str:
    if not isinstance(text, str):
        raise _unlike(where, text, "a text", _like())
    if len(text) > limits.characters:
        raise Refused(422, "a text is too long", where, f"{len(text):,} characters",
                      f"up to {limits.characters:,}", "Shorten or divide it.")  # fmt: skip
    if not text.strip():
        raise Refused(422, "a text is empty", where, "nothing but white space" if text else "no character",
                      "something to answer", "Leave the row out.")  # fmt: skip
    if "\0" in text:
        raise Refused(422, "a text has a character that no text has", where, f"NUL, character {text.index(chr(0))}",
                      "every other character", "Take it out.")  # fmt: skip
    _check_halves(text, where)
    return text


def _check_halves(text: str, where: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        at = error.start
    else:
        return
    raise Refused(422, "a text has half of a surrogate pair", where, f"U+{ord(text[at]):04X}, character {at}",
                   "whole characters", "Send both halves, or the character in UTF-8.") from None  # fmt: skip


def _unlike(where: str, value: Any, allowed: str, next_step: str) -> Refused:
    kinds = {type(None): "null", bool: "true or false", int: "a number", float: "a number", str: "a text",
             list: "a list", dict: "an object"}  # fmt: skip
    return Refused(422, "a value of another kind", where, kinds[type(value)], allowed, next_step)


def shortened(text: str) -> str:
    """A name of a request, so that a message stays one line and can be written."""
    return repr(text[:NAME])
