"""Prompts to texts, in batches, and one prompt to a text that comes piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stages.core.contracts import Generation
from stages.decoding import beams, tokenwise
from stages.decoding.settings import refuse_faulty
from stages.decoding.stepper import Prompt, TokenModel, Written

ROWS = 32  # sequences that run together, beams included: more take more memory, and hardly less time


def write(model: TokenModel, prompts: Sequence[Prompt], how: Generation) -> list[Written]:
    """A text for each prompt, in their order; a text does not hang on the others, but for rounding.

    Sampling draws by the seed and the prompt alone. Raises ValueError for settings that do not go together, and for a
    prompt that leaves no position for a token.
    """
    refuse_faulty(how)
    most = [room(model, prompt, how) for prompt in prompts]
    # Alike in length, they are filled up least.
    order = sorted(range(len(prompts)), key=lambda row: (_length(prompts[row]), row))
    size, found = max(1, ROWS // how.beams), dict[int, Written]()
    for at in range(0, len(order), size):
        rows = order[at : at + size]
        found |= zip(rows, _together(model, [prompts[row] for row in rows], how, [most[row] for row in rows]),
                     strict=True)  # fmt: skip
    return [found[row] for row in range(len(prompts))]


def stream(model: TokenModel, prompt: Prompt, how: Generation) -> Iterator[str]:
    """The text behind a prompt in pieces, each as soon as it is certain; none is empty, and together they are all.

    With beams it is one piece, as none is certain before all are. Raises as `write`.
    """
    refuse_faulty(how)
    most = room(model, prompt, how)
    return _streamed(model, prompt, how, most)


def _streamed(model: TokenModel, prompt: Prompt, how: Generation, most: int) -> Iterator[str]:
    if how.beams > 1:
        text = beams.search(model, [prompt], how, [most])[0].text
        if text:
            yield text
        return
    one = tokenwise.Continuation(prompt, model, how, most)
    for _ in tokenwise.steps(model, [one]):
        if piece := one.text.take():
            yield piece


def _together(model: TokenModel, prompts: Sequence[Prompt], how: Generation, most: Sequence[int]) -> list[Written]:
    if how.beams > 1:
        return beams.search(model, prompts, how, most)
    every = [tokenwise.Continuation(prompt, model, how, limit) for prompt, limit in zip(prompts, most, strict=True)]
    for _ in tokenwise.steps(model, every):
        pass
    return [one.written() for one in every]


def _length(prompt: Prompt) -> int:
    return len(prompt.ids) + len(prompt.source or ())


def room(model: TokenModel, prompt: Prompt, how: Generation) -> int:
    """How many tokens may be written behind a prompt. Raises ValueError where there is no position for one."""
    if model.positions is None:
        return how.max_new_tokens
    if len(prompt.ids) >= model.positions:
        raise ValueError(
            f"a prompt has {len(prompt.ids):,} tokens, and the model reads and writes {model.positions:,} together."
            f" Allowed: up to {model.positions - 1:,}. Shorten it."
        )
    return min(how.max_new_tokens, model.positions - len(prompt.ids))
