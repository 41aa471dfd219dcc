"""Cleaning of a text before a model sees it: the rules of `clean.rules`, the same in training and in use.

The stage `clean` calls them, and so does every model: the settings that they depend on are in model.json. Neither Daft
nor torch is needed. Each rule is described in its docstring and in docs/cleaning.md.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from stages.cleaning import RULES
from stages.core import plugins

if TYPE_CHECKING:
    from stages.core.params.clean import MasksParams

Change = Callable[[str], str]

PASSES = 50  # at most: what an entity hides, or a tag inside a tag, comes out in the next; two or three are the rule
LONGEST_WORD = 64  # a cut goes back to the last word's start, unless the word is longer than this
# The field of `Cleaning` that a rule depends on beside the text.
TUNED = {
    "mask_urls": "masks",
    "mask_emails": "masks",
    "mask_phone_numbers": "masks",
    "mask_numbers": "masks",
    "no_stop_words": "stop_words",
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


class Cleaning(NamedTuple):
    """All settings of the cleaning of a text; a folder's model.json holds them under `cleaning`."""

    rules: tuple[str, ...]
    """Names of RULES, in the order in which they are applied."""
    masks: Mapping[str, str]
    stop_words: tuple[str, ...]
    """The words of `clean.stop_word_language` if a rule removes them."""
    max_chars: int


def cleaning_of(names: Sequence[str], masks: MasksParams, stop_word_language: str, max_chars: int) -> Cleaning:
    """The cleaning by these values of the section `clean`. Raises ValueError for a language without stop words."""
    rules = tuple(expanded(names))
    words: tuple[str, ...] = ()
    if "no_stop_words" in rules:
        listed = importlib.import_module("stages.cleaning.stop_words").stop_words(stop_word_language)
        words = tuple(sorted(listed))
    cleaning = Cleaning(rules, masks.model_dump(), words, max_chars)
    _refuse_growing_masks(cleaning)
    return cleaning


def _refuse_growing_masks(cleaning: Cleaning) -> None:
    """Raise ValueError for a mask that its own rule would mask: texts with it would never be clean."""
    for name in cleaning.rules:
        if TUNED.get(name) != "masks":
            continue
        for mask in cleaning.masks.values():
            if mask and rule(name, cleaning)(mask) not in (mask, *cleaning.masks.values()):
                raise ValueError(
                    f"params.yaml: clean.masks has '{mask}', which the rule {name} would mask again."
                    " Allowed: words that no rule of clean.rules masks, such as 'number'."
                )


def of_description(description: Mapping[str, Any]) -> Cleaning | None:
    """The cleaning described in model.json; None where there is none, so that texts are taken unchanged."""
    if (found := description.get("cleaning")) is None:
        return None
    return Cleaning(tuple(found["rules"]), found["masks"], tuple(found["stop_words"]), found["max_chars"])


def expanded(names: Sequence[str]) -> Iterator[str]:
    """The names of single rules, with recipes replaced by their rules."""
    for name in names:
        yield from RECIPES.get(name, (name,))


def rule(name: str, cleaning: Cleaning) -> Change:
    """One rule of RULES, bound to the settings that it depends on."""
    change = plugins.load(RULES, name, key="clean.rules")
    return functools.partial(change, **{field: getattr(cleaning, field)}) if (field := TUNED.get(name)) else change


def has_masks(names: Sequence[str]) -> bool:
    """Whether rules of `names` put words in the place of addresses and numbers."""
    return any(TUNED.get(name) == "masks" for name in expanded(names))


def cleaner(cleaning: Cleaning) -> Change:
    """clean(text): apply the rules in order, and cut at `max_chars`, until nothing changes (at most PASSES times).

    So a clean text stays as it is: clean(clean(text)) == clean(text).
    """
    clean = cutting_cleaner(cleaning)
    return lambda text: clean(text)[0]


def cutting_cleaner(cleaning: Cleaning) -> Callable[[str], tuple[str, bool]]:
    """Like `cleaner`; the returned function also says whether it has cut the text."""
    changes = [rule(name, cleaning) for name in cleaning.rules]
    max_chars = cleaning.max_chars

    def clean(text: str) -> tuple[str, bool]:
        was_cut = False
        for _ in range(PASSES):
            before = text
            for change in changes:
                text = change(text)
            if len(text) > max_chars:
                text, was_cut = cut(text, max_chars), True
            if text == before:
                break
        return text, was_cut

    return clean


def cut(text: str, max_chars: int) -> str:
    """The first `max_chars` characters at most, without half a word at the end."""
    if len(text) <= max_chars:
        return text
    for at in range(max_chars, max(0, max_chars - LONGEST_WORD - 1), -1):
        if text[at].isspace():
            return text[:at].rstrip()
    return text[:max_chars]
