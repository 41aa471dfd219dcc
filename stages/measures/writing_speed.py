"""The speed of writing, in tokens a second: one text at a time, and in batches."""

from __future__ import annotations

import time
from collections.abc import Sequence

from stages.core.contracts import Generation, Runner, Text, as_one
from stages.core.params.evaluate import ProfileParams

SINGLES = 20  # texts that are written one at a time


def measure(runner: Runner, texts: Sequence[Text], generation: Generation, params: ProfileParams) -> dict[str, float]:
    """`tokens_per_s` of one text at a time, and `tokens_per_s_batch`, of batches of `profile.batch_size`.

    Tokens are those of what was written, as this model's tokenizer counts them. Nothing of a model that only reads.
    """
    if runner.write is None:
        return {}
    asked = [as_one(text) for text in texts[: params.throughput_rows]]
    runner.write(asked[:1], generation)
    sizes = {"tokens_per_s": 1, "tokens_per_s_batch": params.batch_size}
    found = {
        name: _rate(runner, asked[:SINGLES] if size == 1 else asked, size, generation) for name, size in sizes.items()
    }
    return {name: round(rate, 1) for name, rate in found.items()}


def _rate(runner: Runner, texts: Sequence[str], size: int, generation: Generation) -> float:
    assert runner.write is not None
    written: list[str] = []
    started = time.perf_counter()
    for at in range(0, len(texts), size):
        written += runner.write(texts[at : at + size], generation)
    seconds = time.perf_counter() - started
    return _tokens(runner, texts, written) / seconds


def _tokens(runner: Runner, texts: Sequence[str], written: Sequence[str]) -> int:
    """The tokens of what was written, the end of each included."""
    pairs = list(zip(texts, written, strict=True))
    try:
        asked: Sequence[Text] = pairs
        outputs = runner.predict(asked)
    except ValueError:  # of texts alone
        outputs = runner.predict([text or " " for text in written])
    assert outputs.offsets is not None
    return int(outputs.offsets[-1])
