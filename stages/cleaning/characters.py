"""Rules for single characters: Unicode normal forms, invisible characters, white space, case, digits, punctuation."""

from __future__ import annotations

import unicodedata

import regex

from stages.core.unseen import without_hidden

_DIGITS = regex.compile(r"\p{N}+")
_APOSTROPHE = regex.compile(r"(?<=\p{L})['\u2019](?=\p{L})")
_PUNCTUATION = regex.compile(r"[\p{P}\p{S}]+")


def unicode_nfc(text: str) -> str:
    """Composed Unicode: one way to write an accented letter."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def unicode_nfkc(text: str) -> str:
    """Composed Unicode, and full-width letters, ligatures and the like as plain ones."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def invisible_characters(text: str) -> str:
    """Control and other invisible characters go, but where readers see their effect: in joined letters and in emoji."""
    return without_hidden(text)


def white_space(text: str) -> str:
    """Runs of white space become one space; none is left at the ends."""
    return " ".join(text.split())


def lower_case(text: str) -> str:
    """Capital letters become small ones."""
    return text.lower()


def no_digits(text: str) -> str:
    """Digits go; the letters beside them stay."""
    return _DIGITS.sub("", text)


def no_punctuation(text: str) -> str:
    """Punctuation and symbols become a space; an apostrophe inside a word goes without one."""
    return _PUNCTUATION.sub(" ", _APOSTROPHE.sub("", text))
