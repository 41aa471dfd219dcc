"""Source `emoji`: drawings of emoji in several styles, each with its name or its tags, in one or more languages.

    a package of DRAWN (npm)   img/google/64/1f98a.png     the drawing
    emojibase-data (npm)       LANGUAGE/data.json          {"hexcode": "1F98A", "label": "fox", "tags": [...], ...}
                               en/messages.json            what its group is called: "animals & nature"

The drawings of one emoji are a group, never on two sides of a split. A style that `ingest.splits` names as the split of
tests, `test: twitter`, is only tested: one emoji in five, by a hash, is a test row in all styles, and of the others
this style is not read. So other emoji are tested, and another style as well. A style that is named as another split,
such as `held_out: twitter`, is of that split whole.

Source: the archives that the file at ingest.path pins: iamcals' emoji-data (MIT; drawings of Google, Apache-2.0, and of
Twitter, CC BY 4.0), Microsoft's Fluent Emoji (MIT) as LobeHub packs them, and emojibase by Miles Johnson (MIT), whose
names are those of Unicode's CLDR.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from stages.core.contracts import RawRow, RejectedRow, as_kept
from stages.core.params.ingest import IngestParams
from stages.reading.corpora import Pin, members, names_in, pins_of, read_archive, store

NAMED = "emojibase-data"
TEXTS = ("label", "tags")
KEPT = ("style", "hexcode", "category")
SEVERAL = ","  # between the texts that are wanted
VARIATION = "-FE0F"  # the mark of a coloured drawing, which some names have and others leave out
ENGLISH = "en"
TEST = "test"
TEST_SHARE = 0.2  # of the emoji, where a style is only tested


class Style(NamedTuple):
    """Where a package has its drawings."""

    name: str
    folder: str
    ending: str


DRAWN = {
    "emoji-datasource-google": Style("google", "package/img/google/64/", ".png"),
    "emoji-datasource-twitter": Style("twitter", "package/img/twitter/64/", ".png"),
    "@lobehub/fluent-emoji-3d": Style("fluent", "package/assets/", ".webp"),
}


def read(
    params: IngestParams,
    seed: int,
    *,
    structured: Collection[str] = frozenset(),  # noqa: ARG001 (every source is called so)
) -> Iterator[RawRow | RejectedRow]:
    """Rows by style, then by emoji, with origins such as "google/1F98A".

    `params.columns.text_pair` says which text: label, tags, or with a language label.de, tags.fr; of several, with
    commas between, a drawing has a row each. `params.path` pins the archives. Raises FileNotFoundError where one was
    not fetched, ValueError where it is another one or lacks a file, and for a column that there is not.
    """
    return rows_of(params, seed, store())


def rows_of(params: IngestParams, seed: int, folder: Path) -> Iterator[RawRow | RejectedRow]:
    """As `read`, with the archives in another folder."""
    wanted = _wanted(params)
    if unknown := [column for column in params.keep_columns if column not in KEPT]:
        raise ValueError(
            f"params.yaml: ingest.keep_columns has {', '.join(unknown)}. Allowed for emoji: {', '.join(KEPT)}."
        )
    pins = pins_of(Path(params.path))
    names = _names(pins)
    known = {language: _known(names, folder, language) for _, language in wanted}
    groups = _groups(names, folder) if "category" in params.keep_columns else {}
    splits = params.splits.by_name()
    only_tested = any(splits.get(DRAWN[pin.package].name) == TEST for pin in pins if pin != names)
    for pin in (pin for pin in pins if pin != names):
        style = DRAWN[pin.package]
        for code, drawing in _drawings(pin, folder, style):
            split = splits.get(style.name)
            if only_tested and (tested := _is_tested(code, seed)) != (split == TEST):
                if not tested:
                    continue
                split = TEST
            for kind, language in wanted:
                if (emoji := known[language].get(code)) is None:
                    continue  # a flag of a place, or a shade of skin, which has no name of its own there
                kept = {"style": style.name, "hexcode": code, "category": groups.get(emoji.get("group"))}
                origin = f"{style.name}/{code}" + (f" {kind}.{language}" if len(wanted) > 1 else "")
                yield RawRow(
                    f"{style.name}/{code}{style.ending}", None, origin, split, f"emoji {code}",
                    as_kept(params.keep_columns, [kept[name] for name in params.keep_columns]), _text(emoji, kind),
                    drawing,
                )  # fmt: skip


def _is_tested(code: str, seed: int) -> bool:
    """Whether an emoji is of the share TEST_SHARE, by the first 64 bits of SHA-256 of seed and code."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{code}".encode()).digest()[:8]) < TEST_SHARE * 2**64


def _wanted(params: IngestParams) -> list[tuple[str, str]]:
    """Each kind of text that is wanted, with its language."""
    asked = [one.strip().partition(".") for one in (params.columns.text_pair or "").split(SEVERAL)]
    wanted = [(kind, language or ENGLISH) for kind, _, language in asked]
    if any(kind not in TEXTS for kind, _ in wanted) or len({*wanted}) < len(wanted):
        raise ValueError(
            f"params.yaml: ingest.columns.text_pair is '{params.columns.text_pair}'. Allowed for emoji:"
            f" {', '.join(TEXTS)}, with a language behind a dot if it is not English: label.de; several with commas"
            " between, each once."
        )
    return wanted


def _text(emoji: Mapping[str, Any], kind: str) -> str | None:
    found = emoji.get(kind)
    return ", ".join(found) if isinstance(found, list) else found


def _names(pins: Sequence[Pin]) -> Pin:
    """The archive of names. Raises ValueError where it is not there once, with one of drawings at least."""
    named = [pin for pin in pins if pin.package == NAMED]
    if len(named) != 1 or len(pins) < 2 or any(pin.package not in DRAWN for pin in pins if pin not in named):
        raise ValueError(
            f"ingest.path pins {', '.join(map(str, pins)) or 'nothing'}. Allowed for emoji: one {NAMED}, and packages"
            f" of drawings: {', '.join(DRAWN)}."
        )
    return named[0]


def _known(names: Pin, folder: Path, language: str) -> dict[str, Mapping[str, Any]]:
    """The emoji that have names in the language, by their codes."""
    return {_code(emoji["hexcode"]): emoji for emoji in _read(names, folder, f"package/{language}/data.json")}


def _groups(names: Pin, folder: Path) -> dict[int | None, str]:
    """What the groups of emoji are called, by their numbers."""
    found = _read(names, folder, f"package/{ENGLISH}/messages.json")["groups"]
    return {group["order"]: group["message"] for group in found}


def _read(names: Pin, folder: Path, name: str) -> Any:
    return json.loads(members(read_archive(names, folder), [name], shown=str(names))[name])


def _drawings(pin: Pin, folder: Path, style: Style) -> Iterator[tuple[str, bytes]]:
    """The code and the bytes of each drawing, by their names; of two of one emoji, with and without VARIATION, one."""
    archive = read_archive(pin, folder)
    names = sorted(name for name in names_in(archive, shown=str(pin)) if name.startswith(style.folder))
    by_code = {_code(PurePosixPath(name).stem): name for name in names if name.endswith(style.ending)}
    found = members(archive, list(by_code.values()), shown=str(pin))
    for code, name in by_code.items():
        yield code, found[name]


def _code(name: str) -> str:
    return name.upper().replace(VARIATION, "")
