"""Texts as windows of tokens, as training and every runner read them. It needs tokenizers alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tokenizers import Encoding, Tokenizer

from stages.core.contracts import Text


class Windows(NamedTuple):
    """The tokens of some texts: one window for each, or all that a long text takes, one behind another."""

    encodings: list[Encoding]
    at: list[int]
    """The number of the text that each window is of."""


def windows_of(
    texts: Sequence[Text], tokenizer: Tokenizer, *, max_tokens: int, stride: int | None, characters: bool = False
) -> Windows:
    """The windows of each text, or pair of texts, of `max_tokens` tokens at most, special ones included.

    Without a `stride` each text is one window, cut at its end; of a pair the longer text is cut first. With one nothing
    is cut: each window shares so many tokens with the one before. Of a pair the first text is read so, and the second
    stands in each window, where it may take half of the room. `characters`: whether it must be known where each
    token stands in its text, which takes longer. A text of which the tokenizer makes nothing has one token, the
    vocabulary's first. Raises ValueError where a `stride` leaves windows of pairs nothing of their own.

        first   -----------------------
        second  ~~~
        windows -------- ~~~
                      -------- ~~~
                            -------- ~~~
    """
    first_alone = stride is not None and are_pairs(texts)
    _truncate(tokenizer, max_tokens, stride or 0, "only_first" if first_alone else "longest_first")
    if first_alone:
        texts = _with_room(texts, tokenizer, max_tokens, stride or 0)
    encode = tokenizer.encode_batch if characters else tokenizer.encode_batch_fast
    encodings = encode(list(texts))
    for encoding in encodings:
        if not len(encoding):  # no model reads nothing, and a mean over no token is none
            encoding.pad(1, pad_id=0)
    if stride is None:
        return Windows(encodings, list(range(len(texts))))
    of_texts = [[encoding, *_overflowing(encoding, max_tokens)] for encoding in encodings]
    return Windows(
        [window for of_text in of_texts for window in of_text],
        [number for number, of_text in enumerate(of_texts) for _ in of_text],
    )


def refuse_windows_of_pairs(stride: int | None) -> None:
    """Raise ValueError for pairs of texts with a `stride`."""
    if stride is not None:
        raise ValueError(
            "params.yaml: tokenize.long_texts is 'windows', and ingest.columns.text_pair gives pairs of texts."
            " Allowed for pairs: truncate, which cuts the longer text first."
        )


def full_lengths(
    texts: Sequence[Text], windows: Windows, tokenizer: Tokenizer, *, max_tokens: int, stride: int | None
) -> list[int]:
    """For each window the number of tokens of its whole text, special ones included; 0 for further windows of a text.

    `windows` are those that `windows_of` made of `texts` with the same values.
    """
    if stride is None and are_pairs(texts):
        return _full_lengths_of_pairs(texts, windows, tokenizer, max_tokens)
    alike = tokenizer.num_special_tokens_to_add(are_pairs(texts)) + (stride or 0)
    lengths, before = [], -1
    for encoding, at in zip(*windows, strict=True):
        more = _overflowing(encoding, max_tokens) if at != before else []
        repeated = alike + (encoding.sequence_ids.count(1) if more else 0)
        lengths.append(len(encoding.ids) + sum(len(piece) - repeated for piece in more) if at != before else 0)
        before = at
    return lengths


def are_pairs(texts: Sequence[Text]) -> bool:
    """Whether these are pairs of texts; no texts are none."""
    return len(texts) > 0 and not isinstance(texts[0], str)


def boundaries(encodings: Sequence[Encoding]) -> list[int]:
    """How many tokens of each pair have the type 0. Raises ValueError where types are not first 0, then 1."""
    found = [encoding.type_ids.count(0) for encoding in encodings]
    for encoding, boundary in zip(encodings, found, strict=True):
        if any(encoding.type_ids[:boundary]) or not set(encoding.type_ids[boundary:]) <= {1}:
            raise ValueError(
                "params.yaml: model.name: its tokenizer gives the tokens of a pair the types"
                f" {sorted(set(encoding.type_ids))} in an order of its own. Allowed with ingest.columns.text_pair:"
                " tokenizers that give 0 to the first text and then 1 to the second, or 0 to all, as those of bert,"
                " roberta and distilbert."
            )
    return found


def _truncate(tokenizer: Tokenizer, max_tokens: int, stride: int, strategy: str) -> None:
    """Set the tokenizer's truncation, at the end; one that is right is left alone, as threads may share it."""
    wanted = {"max_length": max_tokens, "stride": stride, "strategy": strategy, "direction": "right"}
    if tokenizer.padding is not None:
        tokenizer.no_padding()
    if tokenizer.truncation != wanted:
        tokenizer.enable_truncation(max_tokens, stride=stride, strategy=strategy)


def _with_room(pairs: Sequence[Text], tokenizer: Tokenizer, max_tokens: int, stride: int) -> list[Text]:
    """The pairs with their second texts cut where these would take more than half of a window's room.

    Raises ValueError where the other half is no more than the `stride`.
    """
    room = max_tokens - tokenizer.num_special_tokens_to_add(True)
    most = max(1, room // 2)
    if room - most <= stride:
        allowed = f"up to {room - most - 1}" if room - most > 0 else "none"
        raise ValueError(
            f"params.yaml: tokenize.stride is {stride}, and of tokenize.max_tokens, {max_tokens}, the second text of a"
            f" pair may take {most}. Allowed: {allowed}. Raise tokenize.max_tokens, or lower tokenize.stride."
        )
    seconds = [pair[1] for pair in pairs]
    found = tokenizer.encode_batch(seconds, add_special_tokens=False)
    return [
        (pair[0], second if len(own) <= most else second[: own.offsets[most - 1][1]])
        for pair, second, own in zip(pairs, seconds, found, strict=True)
    ]


def _overflowing(encoding: Encoding, max_tokens: int) -> Sequence[Any]:
    """The windows behind the first; a shorter one has none, and need not be asked, which takes time."""
    return encoding.overflowing if len(encoding) == max_tokens else []


def _full_lengths_of_pairs(texts: Sequence[Text], windows: Windows, tokenizer: Tokenizer, max_tokens: int) -> list[int]:
    lengths = [len(encoding) for encoding in windows.encodings]
    perhaps_cut = [number for number, length in enumerate(lengths) if length == max_tokens]
    tokenizer.no_truncation()
    whole = tokenizer.encode_batch_fast([texts[number] for number in perhaps_cut])
    for number, encoding in zip(perhaps_cut, whole, strict=True):
        lengths[number] = len(encoding)
    return lengths
