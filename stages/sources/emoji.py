"""Source `emoji`: drawings of emoji in several styles, each with its name or its tags in a language.

    emoji-datasource-STYLE (npm)   img/STYLE/64/1f98a.png     the drawing, 64 pixels a side
    emojibase-data (npm)           LANGUAGE/data.json         {"hexcode": "1F98A", "label": "fox", "tags": [...], ...}

A style that `ingest.splits` names as a split, such as `held_out: twitter`, is of that split whole. The drawings of one
emoji are a group, so that those of the other styles are never on two sides of a split.

Source: the archives that the file at ingest.path pins: iamcals' emoji-data (MIT; drawings of Google, Apache-2.0, and of
Twitter, CC BY 4.0), and emojibase by Miles Johnson (MIT), whose names are those of Unicode's CLDR.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from stages.core.contracts import RawRow, RejectedRow, as_kept
from stages.core.params.ingest import IngestParams
from stages.reading.corpora import Pin, members, names_in, pins_of, read_archive, store

DRAWN, NAMED = "emoji-datasource-", "emojibase-data"  # how the packages' names begin
TEXTS = ("label", "tags")
KEPT = ("style", "hexcode", "category")
VARIATION = "-FE0F"  # the mark of a coloured drawing, which some names have and others leave out
ENGLISH = "en"


def read(
    params: IngestParams,
    seed: int,  # noqa: ARG001 (every source is called so)
    *,
    structured: Collection[str] = frozenset(),  # noqa: ARG001 (as above)
) -> Iterator[RawRow | RejectedRow]:
    """Rows by style, then by emoji, with origins such as "google/1F98A".

    `params.columns.text_pair` says which text: label, tags, or with a language label.de, tags.fr. `params.path` pins
    the archives. Raises FileNotFoundError where one was not fetched, ValueError where it is another one or lacks a
    file, and for a column that there is not.
    """
    return rows_of(params, store())


def rows_of(params: IngestParams, folder: Path) -> Iterator[RawRow | RejectedRow]:
    """As `read`, with the archives in another folder."""
    kind, language = _text_of(params)
    if unknown := [column for column in params.keep_columns if column not in KEPT]:
        raise ValueError(
            f"params.yaml: ingest.keep_columns has {', '.join(unknown)}. Allowed for emoji: {', '.join(KEPT)}."
        )
    pins = pins_of(Path(params.path))
    known = _known(pins, folder, language)
    splits = params.splits.by_name()
    for pin in (pin for pin in pins if pin.package.startswith(DRAWN)):
        style = pin.package.removeprefix(DRAWN)
        for code, drawing in _drawings(pin, folder, style):
            if (emoji := known.get(code)) is None:
                continue  # a flag of a place, or a shade of skin, which has no name of its own there
            kept = {"style": style, "hexcode": code, "category": emoji.get("group")}
            yield RawRow(
                f"{style}/{code}.png", None, f"{style}/{code}", splits.get(style), f"emoji {code}",
                as_kept(params.keep_columns, [kept[name] for name in params.keep_columns]), _text(emoji, kind), drawing,
            )  # fmt: skip


def _text_of(params: IngestParams) -> tuple[str, str]:
    """The kind of text, and its language."""
    kind, _, language = (params.columns.text_pair or "").partition(".")
    if kind not in TEXTS:
        raise ValueError(
            f"params.yaml: ingest.columns.text_pair is '{params.columns.text_pair}'. Allowed for emoji:"
            f" {', '.join(TEXTS)}, with a language behind a dot if it is not English: label.de."
        )
    return kind, language or ENGLISH


def _text(emoji: Mapping[str, Any], kind: str) -> str | None:
    found = emoji.get(kind)
    return ", ".join(found) if isinstance(found, list) else found


def _known(pins: Collection[Pin], folder: Path, language: str) -> dict[str, Mapping[str, Any]]:
    """The emoji that have names in the language, by their codes."""
    named = [pin for pin in pins if pin.package == NAMED]
    if len(named) != 1 or len(pins) < 2:
        raise ValueError(
            f"ingest.path pins {', '.join(map(str, pins)) or 'nothing'}. Allowed for emoji: one {NAMED}, and packages"
            f" that begin with {DRAWN}, one a style."
        )
    name = f"package/{language}/data.json"
    content = members(read_archive(named[0], folder), [name], shown=str(named[0]))[name]
    return {_code(emoji["hexcode"]): emoji for emoji in json.loads(content)}


def _drawings(pin: Pin, folder: Path, style: str) -> Iterator[tuple[str, bytes]]:
    """The code and the bytes of each drawing, by their names."""
    archive, within = read_archive(pin, folder), f"package/img/{style}/64/"
    names = sorted(name for name in names_in(archive, shown=str(pin)) if name.startswith(within))
    found = members(archive, names, shown=str(pin))
    for name in names:
        yield _code(PurePosixPath(name).stem), found[name]


def _code(name: str) -> str:
    return name.upper().replace(VARIATION, "")
