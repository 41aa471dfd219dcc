"""The speed of writing, in tokens a second: one text at a time, and in batches."""

from __future__ import annotations

import time
from collections.abc import Sequence

from stages.core.contracts import Generation, Runner, Text, as_one
from stages.core.params.evaluate import ProfileParams
from stages.measures.continuations import beginning

SINGLES = 20  # texts that are written one at a time


def measure(
    runner: Runner,
    texts: Sequence[Text],
    generation: Generation,
    params: ProfileParams,
    *,
    positions: int | None = None,
) -> dict[str, float]:
    """`tokens_per_s` of one text at a time, and `tokens_per_s_batch`, of batches of `profile.batch_size`.

    `positions`: of a model that writes texts on, how many tokens it reads and writes together; the texts' beginnings
    are written on, which leave half of it. Tokens are those of what was written, the end of each included. Nothing of
    a model that only reads.
    """
    if runner.write is None:
        return {}
    asked = [as_one(text) for text in texts[: params.throughput_rows]]
    if positions is not None:
        asked = [text for text in (beginning(text, positions // 2) for text in asked) if text]
    if not asked:
        return {}
    runner.write(asked[:1], generation)
    sizes = {"tokens_per_s": 1, "tokens_per_s_batch": params.batch_size}
    found = {
        name: _rate(runner, asked[:SINGLES] if size == 1 else asked, size, generation) for name, size in sizes.items()
    }
    return {name: round(rate, 1) for name, rate in found.items()}


def _rate(runner: Runner, texts: Sequence[str], size: int, generation: Generation) -> float:
    assert runner.write is not None
    assert runner.written is not None
    batches = [texts[at : at + size] for at in range(0, len(texts), size)]
    started = time.perf_counter()
    for batch in batches:
        runner.write(batch, generation)
    seconds = time.perf_counter() - started
    ends = [runner.written(batch, generation).offsets for batch in batches]
    return sum(int(offsets[-1]) for offsets in ends if offsets is not None) / seconds
