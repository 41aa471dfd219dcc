"""How fast a model answers, from text to probabilities, tokenization included."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from stages.contracts import Runner
from stages.params import ProfileParams

WARM_UP = 20  # rows that are not counted; of the batches it is one


def measure(runner: Runner, texts: Sequence[str], params: ProfileParams) -> dict[str, float]:
    """Latency of single rows of natural length (milliseconds), and throughput in batches (rows a second)."""
    single = list(texts[: params.single_rows])
    for text in single[:WARM_UP]:
        runner.predict([text])
    milliseconds = []
    for text in single:
        started = time.perf_counter()
        runner.predict([text])
        milliseconds.append((time.perf_counter() - started) * 1000)
    many = list(texts[: params.throughput_rows])
    batches = [many[i : i + params.batch_size] for i in range(0, len(many), params.batch_size)]
    runner.predict(batches[0])
    started = time.perf_counter()
    for batch in batches:
        runner.predict(batch)
    seconds = time.perf_counter() - started
    return {
        "latency_p50_ms": round(float(np.percentile(milliseconds, 50)), 3),
        "latency_p99_ms": round(float(np.percentile(milliseconds, 99)), 3),
        "throughput_rows_per_s": round(len(many) / seconds, 1),
    }
