"""The stages that know of pairs, over a tiny corpus of them, in one process: python tests/pairs_run.py FOLDER.

The label is the topic of the second text, and the first text is of the other topic: what the words alone, of whichever
text, cannot tell.
"""

from __future__ import annotations

import csv
import random
import sys
from pathlib import Path
from typing import Any

from conftest import TOPICS
from small_run import FLOORS, MODELS, go_through, small

from stages.clean import clean
from stages.core.params.file import Params
from stages.ingest import ingest
from stages.tokenize import tokenize

ROWS = 160


def write_pairs(path: Path) -> Path:
    """A csv of `premise`, `hypothesis` and `topic`, with a row whose second text is missing."""
    draw = random.Random(3)
    topics = ["sea", "kitchen"]
    rows = []
    for number in range(ROWS):
        topic, other = topics[number % 2], topics[1 - number % 2]
        rows.append((" ".join(draw.sample(TOPICS[other], 4)), " ".join(draw.sample(TOPICS[topic], 4)), topic))
    path.parent.mkdir(parents=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("premise", "hypothesis", "topic"), *rows, ("ship wave sailor", "", "sea")])
    return path


def settings(root: Path) -> Params:
    """The project's params.yaml, with a tiny model and few epochs."""
    changes: dict[str, dict[str, Any]] = {
        "ingest": {"source": "files", "path": str(write_pairs(root / "data/pairs.csv")),
                   "columns": {"text": "premise", "text_pair": "hypothesis", "label": "topic"}},
        "tokenize": {"max_tokens": 16},
        "finetune": {"epochs": 5, "patience": 6},
        "distill": {"epochs": 2},
        "quantize": {"max_loss": 1.0},
    }  # fmt: skip
    return small(root, changes)


if __name__ == "__main__":
    root = Path(sys.argv[1])
    stages = (ingest, clean, tokenize, *FLOORS, *MODELS)
    go_through(settings(root), root, stages, evaluated=("baseline", "quantized"))
