"""Texts as models that write learn and read them: each token's target is the token behind it.

    text alone      begin  I   came  home        source before   begin  ich  kam  sep  I     came
                    I      came home  end                        -      -    -    I    came  end

    source apart    ich  kam  end | begin  I     came            - : no target
                    -    -    -   | I      came  end

Long texts alone become windows, as those of other tasks; what two of them share is learned in the first one. A source
is cut at its end where it has no room, a target never. It needs tokenizers alone, `literal` ones (tokens/literal.py),
so that no name of a special token in a text ends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from stages.core.contracts import NO_LABEL, Writing
from stages.tasks.contract import TargetError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer
    from transformers import PreTrainedTokenizerFast

    from stages.core.params.model import TokenizeParams

BREAK = "\n"  # what parts a source from what is written, where the one stands before the other


class Learned(NamedTuple):
    """Windows of tokens with their targets, W of them."""

    at: list[int]
    """The number of the row that each is of."""
    input_ids: list[list[int]]
    """What a model reads; where a source is read apart, its tokens and behind them the decoder's inputs."""
    labels: list[list[int]]
    """Of each of these the token that is to be behind it; NO_LABEL of a source, and of what another window learns."""
    begins: list[int] | None
    """How many tokens the source has, where it is read apart; None where it is not."""
    full_lengths: list[int]
    """The tokens of the whole row; 0 for further windows of a text. More than `max_tokens` where something was cut."""
    places: list[list[tuple[int, int]]]
    """Of each label its characters in what is written, of the end twice its length; (0, 0) without a label.

    Only where asked for: else empty lists."""


class Prompt(NamedTuple):
    """What stands before a text that is to be written."""

    source: list[int] | None
    """What the encoder reads; None where no source is read apart."""
    ids: list[int]
    """What the decoder reads before the first token that it writes."""


def writing_of(
    tokenizer: PreTrainedTokenizerFast, params: TokenizeParams, writes: Literal["text", "target"], start: str | None
) -> Writing:
    """How a model with this tokenizer writes. `start`: the first token of a decoder that reads its source apart.

    Raises ValueError for a tokenizer without a token for the end of a text.
    """
    end = tokenizer.eos_token_id
    if end is None:
        raise ValueError(
            "params.yaml: model.name: its tokenizer has no token for the end of a text (eos_token), so nothing that is"
            " written would end. Allowed for tasks that write: models of which tokenizer_config.json names one."
        )
    before = writes == "target" and start is None
    begin: Any = tokenizer.convert_tokens_to_ids(start) if start is not None else tokenizer.bos_token_id
    return Writing(
        begin=end if begin is None else begin,
        end=end,
        separator=tuple(_break(tokenizer) or [end]) if before else (),
        prefix=params.prefix if writes == "target" else "",
        source="before" if before else "apart" if writes == "target" else None,
        max_target_tokens=params.max_target_tokens,
    )


def _break(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """The tokens of a line break; none where it cannot be read."""
    ids = tokenizer.backend_tokenizer.encode(BREAK, add_special_tokens=False).ids
    return [] if tokenizer.unk_token_id in ids else ids


def refuse_long_targets(targets: Mapping[str, Sequence[str | None]], tokenizer: Tokenizer, writing: Writing) -> None:
    """Raise ValueError where targets of some splits have no room beside their source: none is cut."""
    lengths = {
        split: [len(one.ids) + 1 for one in tokens_of([target or "" for target in of], tokenizer)]
        for split, of in targets.items()
    }
    over = {split: sum(length > writing.max_target_tokens for length in own) for split, own in lengths.items()}
    if any(over.values()):
        found = ", ".join(f"{count:,} of {split}" for split, count in over.items() if count)
        most = max(length for own in lengths.values() for length in own)
        raise ValueError(
            f"tokens: targets with more than {writing.max_target_tokens} tokens, their end included: {found}; the"
            f" longest has {most:,}. No target is cut. Raise tokenize.max_target_tokens, or leave such rows out by"
            " clean.max_target_chars."
        )


def learned(
    texts: Sequence[str | None],
    sources: Sequence[str] | None,
    tokenizer: Tokenizer,
    writing: Writing,
    *,
    max_tokens: int,
    stride: int | None = None,
    characters: bool = False,
) -> Learned:
    """The rows in which `texts` are learned, of `max_tokens` tokens at most; where a source is apart, of it so many.

    `sources`: the text that each is written for; None where texts stand alone. A text None teaches nothing. With a
    `stride` texts alone become windows, which share so many tokens; others are never cut. `characters`: whether
    `places` are asked for. A text with more than `writing.max_target_tokens`, as tokens of a smaller vocabulary are
    more, takes of its source's room. Raises TargetError for one that leaves its source none.
    """
    own = tokens_of(["" if text is None else text for text in texts], tokenizer, characters=characters)
    if sources is None:
        return _alone(own, writing, max_tokens, stride, characters=characters)
    room, apart = room_of_source(writing, max_tokens), writing.source == "apart"
    over = [0 if apart else max(0, len(one.ids) + 1 - writing.max_target_tokens) for one in own]
    most = max(max_tokens, writing.max_target_tokens) if apart else writing.max_target_tokens + room - 1
    for row, one in enumerate(own):
        if len(one.ids) + 1 > most:
            raise TargetError(row, too_long(len(one.ids) + 1, most))
    of_sources = [writing.prefix + source for source in sources]
    asked = [one.ids for one in tokens_of(of_sources, tokenizer)]
    found = Learned([], [], [], [] if apart else None, [], [])
    for row, (ids, text, one) in enumerate(zip(asked, texts, own, strict=True)):
        prompt = _prompt(ids, writing, room - over[row])
        written = [] if text is None else [*one.ids, writing.end]
        targets = written or [NO_LABEL]
        before = len(prompt.source or ()) + len(prompt.ids) - 1
        found.at.append(row)
        found.input_ids.append([*(prompt.source or ()), *prompt.ids, *written[:-1]])
        found.labels.append([*[NO_LABEL] * before, *targets])
        if found.begins is not None:
            found.begins.append(len(prompt.source or ()))
        lost = max(0, len(ids) - room + over[row])
        found.full_lengths.append(max_tokens + lost if lost else _length(found, prompt))
        places = [*one.offsets, (len(text or ""),) * 2] if characters and text is not None else [(0, 0)]
        found.places.append([*[(0, 0)] * before, *places] if characters else [])
    return found


def _length(found: Learned, prompt: Prompt) -> int:
    """The tokens of the last row; of a source that is read apart its own, as only it may be cut."""
    return len(found.input_ids[-1] if prompt.source is None else prompt.source)


def too_long(tokens: int, allowed: int) -> str:
    """The words on a target without room."""
    return (
        f"its target has {tokens} tokens, its end included. Allowed: {allowed}, as no target is cut. Take it out, or"
        " train with more (tokenize.max_target_tokens, tokenize.max_tokens)."
    )


def _alone(
    own: Sequence[Encoding], writing: Writing, max_tokens: int, stride: int | None, *, characters: bool
) -> Learned:
    found = Learned([], [], [], None, [], [])
    for row, one in enumerate(own):
        whole = [*_begin(writing), *one.ids, writing.end]
        ids, targets = whole[:-1] or [writing.end], whole[1:] or [NO_LABEL]
        end_of_text = one.offsets[-1][1] if characters and len(one) else 0
        places = [*one.offsets, (end_of_text, end_of_text)][-len(targets) :] if characters else []
        for start in _starts(len(ids), max_tokens, stride):
            repeated = (stride or 0) if start else 0
            end = start + max_tokens
            found.at.append(row)
            found.input_ids.append(ids[start:end])
            found.labels.append([*[NO_LABEL] * repeated, *targets[start + repeated : end]])
            found.full_lengths.append(0 if start else len(ids))
            found.places.append([*[(0, 0)] * repeated, *places[start + repeated : end]] if characters else [])
    return found


def _starts(length: int, max_tokens: int, stride: int | None) -> range:
    """Where the windows of a row begin; without a `stride` there is one."""
    if stride is None or length <= max_tokens:
        return range(1)
    return range(0, length - stride, max_tokens - stride)


def prompts(texts: Sequence[str], tokenizer: Tokenizer, writing: Writing, *, max_tokens: int) -> list[Prompt]:
    """What stands before the texts that are to be written: sources, cut as in training, or the beginnings of texts.

    Beginnings are never cut: whoever has no room for one must say so.
    """
    if writing.source is None:
        return [Prompt(None, [*_begin(writing), *one.ids]) for one in tokens_of(texts, tokenizer)]
    room = room_of_source(writing, max_tokens)
    of_sources = tokens_of([writing.prefix + text for text in texts], tokenizer)
    return [_prompt(one.ids, writing, room) for one in of_sources]


def _prompt(source: Sequence[int], writing: Writing, room: int) -> Prompt:
    if writing.source == "apart":
        return Prompt([*source[:room], writing.end], _begin(writing))
    return Prompt(None, [*_begin(writing), *source[:room], *writing.separator])


def room_of_source(writing: Writing, max_tokens: int) -> int:
    """The most tokens of a source that are read. Raises ValueError where there is room for none."""
    taken = 1 if writing.source == "apart" else len(_begin(writing)) + len(writing.separator)
    of_target = 0 if writing.source == "apart" else writing.max_target_tokens
    room = max_tokens - of_target - taken
    if room < 1:
        raise ValueError(
            f"params.yaml: tokenize.max_tokens is {max_tokens}, and what is written may take {of_target} of them"
            f" (tokenize.max_target_tokens), and {taken} part it from its source. Allowed: {of_target + taken + 1} or"
            " more."
        )
    return room


def _begin(writing: Writing) -> list[int]:
    return [] if writing.begin is None else [writing.begin]


def tokens_of(texts: Sequence[str], tokenizer: Tokenizer, *, characters: bool = False) -> list[Encoding]:
    """The tokens of each text, without special ones; `tokenizer` is a `literal` one, to which a text is text alone."""
    if tokenizer.padding is not None:
        tokenizer.no_padding()
    if tokenizer.truncation is not None:
        tokenizer.no_truncation()
    encode = tokenizer.encode_batch if characters else tokenizer.encode_batch_fast
    return encode(list(texts), add_special_tokens=False)
