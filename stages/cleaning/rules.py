"""What may be done to a text: each rule turns a Daft string expression into a Daft string expression.

The rules run inside Daft: in Rust where it has a function for them, in batches where it has none.
They are the same in one process and on a cluster. What each does is in its docstring and in docs/cleaning.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import daft
import pyarrow.compute as pc

from stages.cleaning import characters, markup, masks, stop_words
from stages.cleaning.batches import Rule, where_so
from stages.params import CleanParams

LONGEST_WORD = 64  # a cut goes back to the last word's start, unless the word is longer than this
_SPACES = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # Unicode's; Python's \\s has four more
_LAST_WORD = re.compile(rf"[{_SPACES}]+[^{_SPACES}]{{0,{LONGEST_WORD}}}\Z")

RULES: dict[str, Rule] = {
    "unicode_nfc": characters.unicode_nfc,
    "unicode_nfkc": characters.unicode_nfkc,
    "invisible_characters": characters.invisible_characters,
    "html_markup": markup.html_markup,
    "markdown_markup": markup.markdown_markup,
    "white_space": characters.white_space,
    "lower_case": characters.lower_case,
    "no_digits": characters.no_digits,
    "no_punctuation": characters.no_punctuation,
}
# Those that hang on values of the section `clean` as well.
TUNED: dict[str, Callable[[daft.Expression, CleanParams], daft.Expression]] = {
    "mask_urls": masks.mask_urls,
    "mask_emails": masks.mask_emails,
    "mask_phone_numbers": masks.mask_phone_numbers,
    "mask_numbers": masks.mask_numbers,
    "no_stop_words": stop_words.no_stop_words,
}
# Names that stand for several rules, in this order.
RECIPES: dict[str, tuple[str, ...]] = {
    "classic": (
        "unicode_nfkc",
        "invisible_characters",
        "html_markup",
        "lower_case",
        "no_stop_words",
        "no_punctuation",
        "no_digits",
        "white_space",
    ),
}


def expanded(names: Sequence[str]) -> Iterator[str]:
    """The names of single rules, with those of a recipe in its place."""
    for name in names:
        yield from RECIPES.get(name, (name,))


def apply(params: CleanParams, text: daft.Expression) -> daft.Expression:
    """The rules of `params.rules`, in that order."""
    for name in expanded(params.rules):
        text = RULES[name](text) if name in RULES else TUNED[name](text, params)
    return text


def cut(text: daft.Expression, max_chars: int) -> daft.Expression:
    """At most `max_chars` characters, without half a word at the end."""
    too_long = where_so(
        lambda array: pc.greater(pc.utf8_length(array), max_chars),
        lambda whole: _LAST_WORD.sub("", whole[: max_chars + 1])[:max_chars],
    )
    return too_long(text)
