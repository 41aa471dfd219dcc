"""The throughput of a model, in rows a second, by batch size and by threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from stages.core.contracts import Runner, Text
from stages.core.params.evaluate import ProfileParams


def measure(
    open_runner: Callable[[int], Runner], texts: Sequence[Text], params: ProfileParams
) -> dict[str, dict[str, float]]:
    """Rows a second by threads and batch size: {"threads_1": {"batch_8": 234.5}}."""
    many = list(texts[: params.throughput_rows])
    return {
        f"threads_{threads}": {
            f"batch_{size}": round(rows_per_second(open_runner(threads), many, size), 1) for size in params.batch_sizes
        }
        for threads in params.thread_counts
    }


def rows_per_second(runner: Runner, texts: Sequence[Text], batch_size: int) -> float:
    """The throughput in batches of this size, after one that is not counted."""
    batches = [texts[i : i + batch_size] for i in range(0, len(texts), batch_size)]
    runner.predict(batches[0])
    started = time.perf_counter()
    for batch in batches:
        runner.predict(batch)
    return len(texts) / (time.perf_counter() - started)
