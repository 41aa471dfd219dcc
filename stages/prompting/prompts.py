"""Prompts as tokens: an instruction, demonstrations with the nearest last, and a text with each label's words in turn.

    Tell the topic.             instruction
                                separator
    Text: an old oven           a demonstration: the template with a training row's text and words
    Topic: kitchen
                                separator
    Text: a loaf of bread       what is asked: the template with the words of each of C labels
    Topic: kitchen | forest

C labels.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

from tokenizers import Tokenizer

from stages.core.contracts import Text
from stages.prompting.demonstrations import Demonstration
from stages.prompting.values import PromptValues

_SLOT = re.compile(r"\{(text|text_pair|label)\}")


class Continued(NamedTuple):
    """One beginning, continued by the words of each label."""

    ids_C: list[list[int]]
    """The tokens of the whole, for each label."""
    start: int
    """Where the tokens of the labels begin: all before them is the same in each."""

    @property
    def lengths(self) -> list[int]:
        """(C,): how many tokens each label has."""
        return [len(ids) - self.start for ids in self.ids_C]


class Prompt(NamedTuple):
    """What is asked of the model for one text."""

    asked: Continued
    content_free: list[Continued]
    """The same with texts that say nothing, and the same demonstrations."""
    shown: tuple[int, ...]
    """The numbers of the demonstrations, the nearest first."""
    is_cut: bool
    """Whether the text lost its end, as it had no room."""


def filled(template: str, text: Text, words: str) -> str:
    """The template with a text, or both texts of a pair, and a label's words; slots in these are text."""
    first, second = (text, "") if isinstance(text, str) else text
    parts = {"text": first, "text_pair": second, "label": words}
    return _SLOT.sub(lambda slot: parts[slot[1]], template)


class Reader:
    """How prompts become tokens."""

    def __init__(self, values: PromptValues, words_C: Sequence[str], tokenizer: Tokenizer, begin: int) -> None:
        """`tokenizer`: one to which a text is text alone; `begin`: the token that begins a text.

        Raises ValueError for words that are no tokens, or the same ones as another label's.
        """
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._values, self._words_C, self._tokenizer, self._begin = values, words_C, tokenizer, begin
        self._refuse_words_that_are_alike()

    def read(self, text: Text, nearest: Sequence[int], rows: Sequence[Demonstration]) -> Prompt:
        """The prompt for a text, with as many of the `nearest` demonstrations of `rows`, whole, as have room.

        The farthest is left out first. Where there is room for none and too little for the text, the text loses its
        end. Raises ValueError where there is no room for a text at all.
        """
        for count in range(len(nearest), -1, -1):
            found = self._prompt(text, nearest[:count], rows, is_cut=False)
            if (over := self._over(found)) <= 0:
                return found
        while over > 0:
            text = self._shortened(text, over)
            found = self._prompt(text, (), rows, is_cut=True)
            over = self._over(found)
        return found

    def _prompt(self, text: Text, shown: Sequence[int], rows: Sequence[Demonstration], *, is_cut: bool) -> Prompt:
        values = self._values
        examples = [filled(values.template, *rows[number]) for number in reversed(shown)]
        before = "".join(f"{part}{values.separator}" for part in (*filter(None, [values.instruction]), *examples))
        nothing: list[Text] = [(one, one) if values.of_pairs else one for one in values.content_free]
        asked, *content_free = (self._continued(before, one) for one in (text, *nothing))
        return Prompt(asked, content_free, tuple(shown), is_cut)

    def _continued(self, before: str, text: Text) -> Continued:
        """A label's tokens are those that it does not share with what is asked alone, which no label follows.

        So a blank before a label is part of it where the tokenizer joins both.
        """
        wholes = [before + filled(self._values.template, text, words) for words in ("", *self._words_C)]
        alone, *each = self._tokenizer.encode_batch_fast(wholes, add_special_tokens=False)
        start = min(_alike(alone.ids, one.ids) for one in each)
        return Continued([[self._begin, *one.ids] for one in each], 1 + start)

    def _refuse_words_that_are_alike(self) -> None:
        words_C = ("", *self._words_C)
        wholes = [filled(self._values.template, ("", ""), words) for words in words_C]
        found = [one.ids for one in self._tokenizer.encode_batch_fast(wholes, add_special_tokens=False)]
        for number, (words, ids) in enumerate(zip(words_C, found, strict=True)):
            if ids in found[:number]:
                other = words_C[found.index(ids)]
                if not other:
                    raise ValueError(f"verbalizers: '{words}' is no token to the model's tokenizer. Give other words.")
                raise ValueError(
                    f"verbalizers: '{other}' and '{words}' are the same tokens to the model's tokenizer, which may know"
                    " neither. Give other words."
                )
        if not self._values.content_free and not self._values.length_normalized:
            self._refuse_words_that_go_on(found[1:])

    def _refuse_words_that_go_on(self, ids_C: Sequence[Sequence[int]]) -> None:
        """Nothing says where words end, so those that go on from others' are never likelier, whatever the text is."""
        for (one, ids), (other, longer) in itertools.permutations(zip(self._words_C, ids_C, strict=True), 2):
            if longer[: len(ids)] == ids:
                raise ValueError(
                    f"verbalizers: '{other}' goes on from '{one}', and could never be likelier. Give other words, texts"
                    " in content_free, which calibrate, or length_normalized: true."
                )

    def _over(self, prompt: Prompt) -> int:
        """How many tokens the longest row has more than it may."""
        every = (prompt.asked, *prompt.content_free)
        return max(len(ids) for one in every for ids in one.ids_C) - self._values.max_tokens

    def _shortened(self, text: Text, over: int) -> Text:
        """The text without so many tokens at its end, and one character at least; of a pair the longer of both."""
        parts = [text] if isinstance(text, str) else list(text)
        longest = max(range(len(parts)), key=lambda number: len(parts[number]))
        part = parts[longest]
        if not part:
            raise ValueError(
                f"max_tokens is {self._values.max_tokens}. Allowed: more than {self._values.max_tokens + over}, which"
                " the instruction, the template and the words of the labels take without a text."
            )
        offsets = self._tokenizer.encode(part, add_special_tokens=False).offsets
        kept = offsets[len(offsets) - over - 1][1] if len(offsets) > over else 0
        parts[longest] = part[: min(kept, len(part) - 1)]
        return parts[0] if isinstance(text, str) else (parts[0], parts[1])


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """With how many tokens alike both begin."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (left, right) in pairs if left != right), min(len(one), len(other)))
