"""Rules for single characters: Unicode's normal forms, what cannot be seen, white space, case, digits, punctuation."""

from __future__ import annotations

import re
import unicodedata

import daft
from daft.functions import lower, regexp_replace, strip

from stages.cleaning.batches import not_ascii, where_so

# Zero-width and bidirectional marks, the soft hyphen, the byte order mark, annotation marks, tags.
INVISIBLE = (
    "\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"  # inside texts
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # around them
)
INVISIBLE_CHARACTER = re.compile(f"[{INVISIBLE}\0-\b\x0e-\x1f\x7f-\x84\x86-\x9f]")
_INVISIBLE_OR_CONTROL = rf"[{INVISIBLE}]|[\p{{Cc}}&&[^\s]]"

_nfc = where_so(not_ascii, lambda text: unicodedata.normalize("NFC", text))  # Arrow 25's own NFC gives NFD
_nfkc = where_so(not_ascii, lambda text: unicodedata.normalize("NFKC", text))


def unicode_nfc(text: daft.Expression) -> daft.Expression:
    """Composed Unicode: one way to write an accented letter."""
    return _nfc(text)


def unicode_nfkc(text: daft.Expression) -> daft.Expression:
    """Composed Unicode, and full-width letters, ligatures and the like as plain ones."""
    return _nfkc(text)


def invisible_characters(text: daft.Expression) -> daft.Expression:
    """Control characters that are no white space, zero-width and bidirectional marks and soft hyphens go."""
    return regexp_replace(text, _INVISIBLE_OR_CONTROL, "")


def white_space(text: daft.Expression) -> daft.Expression:
    """Runs of white space become one space; none is left at the ends."""
    return strip(regexp_replace(text, r"\s{2,}|[^\S ]", " "))  # a single space matches nothing: four times faster


def lower_case(text: daft.Expression) -> daft.Expression:
    """Capital letters become small ones."""
    return lower(text)


def no_digits(text: daft.Expression) -> daft.Expression:
    """Digits go; the letters beside them stay."""
    return regexp_replace(text, r"\p{N}+", "")


def no_punctuation(text: daft.Expression) -> daft.Expression:
    """Punctuation and symbols become a space; an apostrophe inside a word goes without one."""
    return regexp_replace(regexp_replace(text, r"(\p{L})['\u2019](\p{L})", "$1$2"), r"[\p{P}\p{S}]+", " ")
