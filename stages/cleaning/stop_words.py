"""The rule that removes stop words, by language."""

from __future__ import annotations

import importlib
from functools import cache

import regex

from stages.core.plugins import install_extra

ENGLISH = "en"


def no_stop_words(text: str, stop_words: tuple[str, ...]) -> str:
    """Words such as "the" and "of" go, in any case: those of `stop_word_language`. Put it before no_punctuation."""
    return _pattern(stop_words).sub("", text)


@cache
def _pattern(words: tuple[str, ...]) -> regex.Pattern[str]:
    """A pattern of any of the words, the longest first."""
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    return regex.compile(rf"(?i)\b(?:{'|'.join(map(regex.escape, longest_first))})\b")


def stop_words(language: str) -> frozenset[str]:
    """The stop words of a language (ISO 639-1). Raises ValueError where there are none, or no package of them.

    English ones are scikit-learn's 318; those of other languages come from the package stopwordsiso.
    """
    if language == ENGLISH:
        return importlib.import_module("sklearn.feature_extraction.text").ENGLISH_STOP_WORDS
    try:
        package = importlib.import_module("stopwordsiso")
    except ModuleNotFoundError:
        raise ValueError(
            f"params.yaml: clean.stop_word_language is '{language}'. Installed: {ENGLISH}. For others, from the "
            f"project's folder: {install_extra('languages')}"
        ) from None
    if not package.has_lang(language):
        allowed = ", ".join(sorted(package.langs()))
        raise ValueError(f"params.yaml: clean.stop_word_language is '{language}'. Allowed: {allowed}.")
    return frozenset(package.stopwords(language))
