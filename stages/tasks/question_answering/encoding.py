"""Answers as the numbers of a window's tokens: where the answer begins, where it ends, and what can be none.

The place of the first token, which is a special one, is that of no answer: it is both ends of it.

    [CLS]  Ada  wrote  to  Babbage  [SEP]  who  wrote  [SEP]
    0      3    0      0   0        8      8    8      8          the answer is "Ada"
    3      0    0      0   0        8      8    8      8          the window has no answer
    7      0    ...                                               nor has this one, which is the text's second
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stages.core.contracts import NO_LABEL
from stages.tasks.contract import Space, TargetError, TaskEncoding
from stages.tasks.shared.places import END, FURTHER, OUTSIDE, START, Passage
from stages.tasks.shared.quotes import Quote, from_text

if TYPE_CHECKING:
    from tokenizers import Encoding

NOWHERE = Passage(0, 0)

Token = tuple[int, int, int]
"""Its number, and where it stands in the text."""


def space(targets: Sequence[str]) -> Space:
    """`longest`: the characters of the longest answer; `unanswerable`: whether a text may hold no answer.

    Raises ValueError where no row has an answer.
    """
    quotes = [from_text(target) for target in set(targets)]
    longest = max((len(quote.text) for own in quotes for quote in own), default=0)
    if not longest:
        raise ValueError("no training row has an answer: there is nothing to learn. Add rows with answers.")
    return {"longest": longest, "unanswerable": any(not own for own in quotes)}


def targets(
    targets_N: Sequence[str | None], encodings: Sequence[Encoding], at: Sequence[int], space: Space
) -> list[list[int]]:
    """For each window the number of each token, by START, END, FURTHER and OUTSIDE; the first answer is learned.

    A window without the whole answer has none, as long as another window of its text has it. Where none has, as where
    the text was cut, all of them are NO_LABEL, and so they are where the target is None. Raises TargetError for a row
    without an answer, where the space has none such; and ValueError where windows begin with no special token.
    """
    quotes_N = [None if target is None else from_text(target) for target in targets_N]
    for row, quotes in enumerate(quotes_N):
        if quotes == () and not space["unanswerable"]:
            raise TargetError(
                row,
                "has no answer, and every training row has one. Give such questions training rows, or take them out.",
            )
    texts = [_of_text(encoding) for encoding in encodings]
    places = [_place(tokens, quotes_N[row]) for tokens, row in zip(texts, at, strict=True)]
    answered = {row for row, place in zip(at, places, strict=True) if place is not None}
    found: list[list[int]] = []
    before = -1
    for encoding, tokens, row, place in zip(encodings, texts, at, places, strict=True):
        if row in answered or quotes_N[row] == ():
            found.append(_numbers(encoding, tokens, place or NOWHERE, further=row == before))
        else:
            found.append([NO_LABEL] * len(encoding))
        before = row
    return found


def _of_text(encoding: Encoding) -> list[Token]:
    """The tokens of the first text that stand for some of it."""
    return [
        (token, start, end)
        for token, (of, (start, end)) in enumerate(zip(encoding.sequence_ids, encoding.offsets, strict=True))
        if of == 0 and start < end
    ]


def _place(tokens: Sequence[Token], quotes: Sequence[Quote] | None) -> Passage | None:
    """The tokens of the first quote; None without one, and where the window has not all of it."""
    if not quotes:
        return None
    inside = [token for token in tokens if token[1] < quotes[0].end and quotes[0].start < token[2]]
    if not inside:
        return None
    begins = inside[0][1] <= quotes[0].start or inside[0] != tokens[0]
    ends = quotes[0].end <= inside[-1][2] or inside[-1] != tokens[-1]
    return Passage(inside[0][0], inside[-1][0]) if begins and ends else None


def _numbers(encoding: Encoding, tokens: Sequence[Token], place: Passage, *, further: bool) -> list[int]:
    if not encoding.special_tokens_mask[0]:
        raise ValueError(
            "params.yaml: model.name: its tokenizer puts no special token before a text, whose place that of no answer"
            " is. Allowed for questions: tokenizers that do, as those of bert, roberta and distilbert ([CLS], <s>)."
        )
    numbers = [OUTSIDE] * len(encoding)
    for token, _, _ in tokens:
        numbers[token] = 0
    numbers[0] = FURTHER if further else 0
    numbers[place.first] |= START
    numbers[place.last] |= END
    return numbers


ENCODING = TaskEncoding(space=space, targets=targets, feature="list_int32", characters=True, windows_of_pairs=True)
