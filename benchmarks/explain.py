"""Whether the words that an explanation names matter: the answer without them, and without as many at random.

    python benchmarks/explain.py [--texts 200] [--project .] [--threads 2]

Of the first test texts with more than ten words (of fewer, five at random are hardly others), each is explained, and
the probability of its answer compared with what it is without the five words that weigh most, and without five drawn at
random (the mean change of twenty draws). Nothing is chosen by these texts. Writes explain.json beside this file.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import record
from record import ROOT

from flows.answering.explaining import CHECKED, explained
from flows.answering.variants import words_of
from stages.backends.runners import open_runner
from stages.reading.clean_rows import read_split, texts_of

WORDS = 10  # a text has more


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--project", type=Path, default=ROOT)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    chosen = parser.parse_args()
    runner = open_runner(chosen.project / "artifacts/models/quantized", threads=chosen.threads)
    texts = texts_of(read_split(chosen.project / "artifacts/data/clean.parquet", "test"))
    long = [text for text in texts if sum(1 for _ in words_of([text] if isinstance(text, str) else text)) > WORDS]
    changes, seconds = [], []
    for text in long[: chosen.texts]:
        started = time.perf_counter()
        found = explained(runner, text)
        seconds.append(time.perf_counter() - started)
        changes += [
            (abs(one.value - one.without_top), float(np.abs(one.value - np.array(one.drawn)).mean()))
            for one in found.aspects
        ]
    top, other = np.array(changes).mean(0)
    record.write_beside(
        chosen.output,
        runner.task,
        {
            "texts": min(len(long), chosen.texts),
            "aspects": len(changes),
            "words_left_out": CHECKED,
            "change_without_top": round(float(top), 4),
            "change_without_random": round(float(other), 4),
            "ratio": round(float(top / other), 2),
            "seconds_a_text_p50": round(float(np.median(seconds)), 3),
        },
    )


if __name__ == "__main__":
    main()
