"""Sets of labels through the stages, to int8, in one process: python tests/multilabel_run.py FOLDER."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

from conftest import TOPICS
from small_run import DATA, FILLER, MODELS, go_through, small

from stages.baseline import baseline
from stages.core.params.file import Params

ROWS = 240


def write_sets(path: Path) -> Path:
    """JSON lines of `text` and `topics`: those whose words it has, of three; and two rows that are no sets."""
    draw = random.Random(3)
    lines: list[dict[str, Any]] = []
    for number in range(ROWS):
        topics = [topic for place, topic in enumerate(TOPICS) if number >> place & 1]
        words = [word for topic in topics for word in draw.sample(TOPICS[topic], 3)] + draw.sample(FILLER, 4)
        draw.shuffle(words)
        lines.append({"text": " ".join(words), "topics": topics})
    lines += [{"text": "the old ship", "topics": ["sea", 1]}, {"text": "a small boat", "topics": None}]
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def settings(root: Path) -> Params:
    """The project's params.yaml, with a tiny model and few epochs."""
    changes: dict[str, dict[str, Any]] = {
        "task": {"name": "multilabel_classification", "measure": "micro_f1"},
        "ingest": {"source": "files", "path": str(write_sets(root / "data/sets.jsonl")),
                   "columns": {"text": "text", "text_pair": None, "label": "topics"}},
        "tokenize": {"max_tokens": 10, "long_texts": "windows", "stride": 2},
        "finetune": {"class_weights": "balanced"},
    }  # fmt: skip
    return small(root, changes)


if __name__ == "__main__":
    root = Path(sys.argv[1])
    go_through(settings(root), root, (*DATA, baseline, *MODELS), evaluated=("baseline", "quantized"))
