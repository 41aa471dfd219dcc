"""Tables of characters for a demo page, asked of the code that cleans and reads texts here.

Browsers know other versions of Unicode, and JavaScript's classes (`\\s`, `\\w`, `\\p{L}`) are not Python's. With these
tables the page's rules see what the runner's see, in every browser.
"""

from __future__ import annotations

import html
import html.entities
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import regex
from tokenizers import Tokenizer

from stages.cleaning import masks
from stages.core import unseen

SURROGATES = range(0xD800, 0xE000)  # halves of characters, which no text has
LAST = 0x110000
_IDEOGRAPHS = range(0x2E80, 0x32000)  # blocks in which a tokenizer may take each character for a word
_ODD = {"Cf", "Cn", "Mn", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps"}  # Unicode's general categories
_UNSEEN = ("hidden", "may_stay", "joining", "pictures")
_MASKS = ("blank", "word", "decimal")
NEEDED: Mapping[str, tuple[str, ...]] = {
    "unicode_nfc": ("unassigned",),
    "unicode_nfkc": ("unassigned",),
    "invisible_characters": _UNSEEN,
    "html_markup": ("hidden", "may_stay", "word_of_markup"),
    "white_space": (),
    "mask_urls": ("blank",),
    "mask_emails": ("address_letters", "digits"),
    "mask_phone_numbers": _MASKS,
    "mask_numbers": _MASKS,
    "lower_case": ("unassigned",),
    "no_digits": ("digits",),
    "no_punctuation": ("punctuation", "letters"),
    "no_stop_words": _MASKS,
}
"""The classes that each rule needs beside `space`; a rule that is not here is not one of the page's."""


def of_rules(rules: Sequence[str]) -> dict[str, Any]:
    """The tables of these rules: `classes`, each the inside of a class of JavaScript's regular expressions, and others.

    `windows` are the characters that controls stand for; `entities` and `numbers` what HTML's entities stand for.
    """
    names = {"space", *itertools.chain.from_iterable(NEEDED[rule] for rule in rules)}
    found: dict[str, Any] = {"classes": {name: shown(_CLASSES[name]()) for name in sorted(names)}}
    if "invisible_characters" in rules:
        found["windows"] = {chr(code): unseen.without_hidden(f"\x80{chr(code)}")[1:] for code in range(0x80, 0xA0)}
    if "html_markup" in rules:
        found |= {"entities": _entities(), "numbers": _numbers()}
    return found


def of_tokenizer(tokenizer: Tokenizer, vocabulary: Iterable[str]) -> dict[str, Any]:
    """What the page changes in a text, so that its tokenizer reads it as this one does, which is one of BERT's.

    `spaced`: the characters that are words of their own. `odd`: those that this one takes for letters, while their
    categories, or those of a later Unicode, say otherwise; `letter` stands for them, and is as unknown to the
    vocabulary. `lower`: letters whose small form hangs on their neighbours in JavaScript alone.
    """
    normalized, known = tokenizer.normalizer.normalize_str, {*itertools.chain.from_iterable(vocabulary)}
    ideographs = [*_codes(_IDEOGRAPHS)]
    seen = normalized("|".join(map(chr, ideographs))).split("|")
    spaced = [code for code, one in zip(ideographs, seen, strict=True) if one != " " and one[:1] == " " == one[-1:]]
    odd = [code for code in _oddities() if chr(code) not in known and _is_letter(chr(code), tokenizer)]
    letter = next(chr(code) for code in range(0xA000, 0xA48D) if chr(code) not in known)  # of Yi: lo, and old
    lower = {"Σ": "σ"} if normalized("Σ") == "σ" else {}
    return {"spaced": shown(spaced), "odd": shown(odd), "letter": letter, "lower": lower}


@cache
def _oddities() -> Sequence[int]:
    """Marks, punctuation, controls of format and what Python does not know: where versions of Unicode differ."""
    return [code for code in _codes() if unicodedata.category(chr(code)) in _ODD]


def _is_letter(character: str, tokenizer: Tokenizer) -> bool:
    """Whether it stays as it is, and is no word of its own; what no version of Unicode assigns is such a letter."""
    if unicodedata.category(character) == "Cn":
        return True
    inside = f"a{character}b"
    if tokenizer.normalizer.normalize_str(inside) != inside:
        return False
    return len(tokenizer.pre_tokenizer.pre_tokenize_str(inside)) == 1


def shown(codes: Iterable[int]) -> str:
    """The inside of a class of JavaScript's regular expressions (with the flag u): `\\u{9}-\\u{d}\\u{20}`."""
    found: list[list[int]] = []
    for code in codes:
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return "".join(rf"\u{{{first:x}}}" + (rf"-\u{{{last:x}}}" if last > first else "") for first, last in found)


@cache
def _every() -> str:
    return "".join(map(chr, _codes()))


def _codes(of: range = range(LAST)) -> Iterable[int]:
    return (code for code in of if code not in SURROGATES)


def _matching(pattern: str | re.Pattern[str] | regex.Pattern[str]) -> Callable[[], Iterable[int]]:
    """The characters that a pattern matches; one as text is of `regex`."""
    compiled = regex.compile(pattern) if isinstance(pattern, str) else pattern
    return lambda: (ord(found[0]) for found in compiled.finditer(_every()))


def _unassigned() -> Iterable[int]:
    return (code for code in _oddities() if unicodedata.category(chr(code)) == "Cn")


_CLASSES: Mapping[str, Callable[[], Iterable[int]]] = {
    "space": lambda: (code for code in _codes() if chr(code).isspace()),
    "unassigned": _unassigned,
    "hidden": _matching(unseen.HIDDEN_CHARACTER),
    "may_stay": _matching(unseen.MAY_STAY),
    "joining": _matching(unseen.JOINING),
    "pictures": _matching(unseen.PICTURE),
    "word_of_markup": _matching(re.compile(r"\w")),
    "blank": _matching(r"\s"),
    "word": _matching(r"\w"),
    "decimal": _matching(r"\d"),
    "digits": _matching(r"\p{N}"),
    "punctuation": _matching(r"[\p{P}\p{S}]"),
    "letters": _matching(r"\p{L}"),
    "address_letters": _matching(masks.ADDRESS_LETTERS),
}


def _entities() -> dict[str, str]:
    """The characters that HTML's names stand for, by the names with their semicolons."""
    return {name: characters for name, characters in html.entities.html5.items() if name.endswith(";")}


def _numbers() -> dict[int, str]:
    """What numbers in entities stand for, where that is not the character of this number."""
    ends = (plane << 16 | end for plane in range(0x11) for end in (0xFFFE, 0xFFFF))
    unusual = itertools.chain(range(0xA0), range(0xFDD0, 0xFDF0), ends)
    found = {number: html.unescape(f"&#{number};") for number in unusual}
    return {number: character for number, character in found.items() if character != chr(number)}
