"""The speed of a model, from text to probabilities, tokenization included."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.contracts import Runner, Text
from stages.core.params.evaluate import ProfileParams
from stages.measures.throughput import rows_per_second

WARM_UP = 20  # rows that are not counted; of the batches it is one
PERCENTILES = (50, 90, 99)
RAPL = Path("/sys/class/powercap")  # Intel's and AMD's energy counters, where Linux shows them


def measure(open_runner: Callable[[int], Runner], texts: Sequence[Text], params: ProfileParams) -> dict[str, Any]:
    """The latency of single rows of natural length, throughput in batches, start-up, and energy where it is known.

    `open_runner(threads)` opens the model. Latencies and `start_up_ms` (from the files to the first answer, loading of
    the model's libraries included) are in milliseconds; throughputs in rows a second; energy in joules a 1,000 rows, of
    the whole processor.
    """
    started = time.perf_counter()
    runner = open_runner(params.threads)
    runner.predict(texts[:1])
    start_up = (time.perf_counter() - started) * 1000
    milliseconds = latencies(runner, list(texts[: params.single_rows]))
    many = list(texts[: params.throughput_rows])
    before = joules()
    rate = rows_per_second(runner, many, params.batch_size)
    after = joules()
    answered = len(many) + len(many[: params.batch_size])  # those of the batch that is not timed, too
    energy = {} if before is None or after is None or after < before else {
        "energy_j_per_1000_rows": round((after - before) / answered * 1000, 2)
    }  # fmt: skip
    return {
        **{f"latency_p{p}_ms": round(float(np.percentile(milliseconds, p)), 3) for p in PERCENTILES},
        "latency_mean_ms": round(float(np.mean(milliseconds)), 3),
        "start_up_ms": round(start_up, 1),
        "throughput_rows_per_s": round(rate, 1),
        **energy,
    }


def latencies(runner: Runner, texts: Sequence[Text]) -> list[float]:
    """Milliseconds for each text, asked alone."""
    for text in texts[:WARM_UP]:
        runner.predict([text])
    milliseconds = []
    for text in texts:
        started = time.perf_counter()
        runner.predict([text])
        milliseconds.append((time.perf_counter() - started) * 1000)
    return milliseconds


def joules(root: Path = RAPL) -> float | None:
    """The energy counter of the processors in joules, over all packages; None where this process may not read it.

    Linux shows other domains beside them, such as `psys`, of the whole machine.
    """
    try:
        zones = [path for path in sorted(root.glob("*-rapl:*")) if path.name.count(":") == 1]
        counters = [path / "energy_uj" for path in zones if (path / "name").read_text().startswith("package")]
        return sum(int(counter.read_text()) for counter in counters) / 1e6 if counters else None
    except OSError:
        return None
