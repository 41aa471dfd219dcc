"""The speed of writing: tokens a second, of one text at a time and in a batch, and the wait for the first words."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from stages.core.contracts import Generation, Runner, Text, as_one
from stages.core.params.evaluate import ProfileParams
from stages.measures.continuations import beginning

SINGLES = 5  # texts that are written one at a time, as each token is a step


def measure(
    runner: Runner,
    texts: Sequence[Text],
    generation: Generation,
    params: ProfileParams,
    *,
    positions: int | None = None,
) -> dict[str, float]:
    """`tokens_per_s` of one text at a time, `tokens_per_s_batch` of a batch of `profile.batch_size`, `first_text_ms`.

    That is how long the first piece of a stream takes, in milliseconds, the median of the texts of the first.
    `positions`: of a model that writes texts on, how many tokens it reads and writes together; the texts' beginnings
    are written on, which leave half of it. Tokens are those of what was written, the end of each included. Nothing of
    a model that only reads.
    """
    write, written, stream = runner.write, runner.written, runner.stream
    if write is None or written is None or stream is None:
        return {}
    asked = [as_one(text) for text in texts[: params.throughput_rows]]
    if positions is not None:
        asked = [text for text in (beginning(text, positions // 2) for text in asked) if text]
    batch = asked[: params.batch_size]
    if not batch:
        return {}
    offsets = written(batch, generation).offsets  # a text is the same in any batch, so these count for all
    assert offsets is not None
    counts, singles = np.diff(offsets), batch[:SINGLES]
    firsts = [_seconds(lambda text=text: next(iter(stream(text, generation)), None)) for text in singles]  # type: ignore[misc]
    alone = sum(_seconds(lambda text=text: write([text], generation)) for text in singles)  # type: ignore[misc]
    return {
        "tokens_per_s": round(float(counts[: len(singles)].sum()) / alone, 1),
        "tokens_per_s_batch": round(float(counts.sum()) / _seconds(lambda: write(batch, generation)), 1),
        "first_text_ms": round(statistics.median(firsts) * 1000, 3),
    }


def _seconds(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started
