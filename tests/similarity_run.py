"""Two texts compared, through the stages to int8, in one process: python tests/similarity_run.py FOLDER KIND.

KIND is `numbers`, where the number is the share of words of the same topic, or `pairs`, where the second text has the
query's own words in other places.
"""

from __future__ import annotations

import csv
import random
import sys
from pathlib import Path
from typing import Any

from conftest import REPOSITORY, TOPICS
from small_run import DATA, FILLER, FLOORS, MODELS, go_through, small

from stages.compare import compare
from stages.core.params.file import Params, load_params
from stages.core.paths import MODELS as NAMES

ROWS = 240


def of_numbers(draw: random.Random) -> list[tuple[str, str, str]]:
    """Two texts of three words each, and how many of the second are of the first's topic."""
    rows = []
    for number in range(ROWS):
        topic, other = draw.sample(list(TOPICS), 2)
        same = number % 4
        second = draw.sample(TOPICS[topic], same) + draw.sample(TOPICS[other], 3 - same)
        rows.append((_text(draw.sample(TOPICS[topic], 3), draw), _text(second, draw), f"{same}.0"))
    return rows


def of_pairs(draw: random.Random) -> list[tuple[str, str, str]]:
    """Two texts with the same four words of all topics among others; the target is the second text again."""
    words, rows = sorted(word for topic in TOPICS.values() for word in topic), []
    for _ in range(ROWS):
        own = draw.sample(words, 4)
        second = _text(own, draw)
        rows.append((_text(own, draw), second, second))
    return rows


def _text(words: list[str], draw: random.Random) -> str:
    found = words + draw.sample(FILLER, 3)
    draw.shuffle(found)
    return " ".join(found)


def settings(root: Path, kind: str) -> Params:
    """The project's params.yaml, with a tiny model and few epochs."""
    losses = load_params(REPOSITORY / "params.yaml").distill.losses.model_dump(by_alias=True)
    data = root / "data/pairs.csv"
    data.parent.mkdir(parents=True)
    with data.open("w", newline="", encoding="utf-8") as file:
        rows = (of_numbers if kind == "numbers" else of_pairs)(random.Random(3))
        csv.writer(file).writerows([("one", "other", "target"), *rows, ("ship wave sailor", "", "1")])
    label = "target" if kind == "numbers" else "other"
    changes: dict[str, dict[str, Any]] = {
        "task": {"name": "sentence_similarity", "measure": "spearman" if kind == "numbers" else "ndcg_at_10"},
        "ingest": {"source": "files", "path": str(data),
                   "columns": {"text": "one", "text_pair": "other", "label": label}},
        "clean": {"test_fraction": 0.25, "validation_fraction": 0.15},
        "validate": {"min_labels": 1, "max_label_share": None},
        "tokenize": {"max_tokens": 12},
        "static": {"dimensions": 16},
        "finetune": {"epochs": 6, "patience": 6},
        "cache_logits": {"vectors": ["hidden"], "layers": [1]},
        "distill": {"losses": losses | {"hidden": 0.01}},
        "quantize": {"max_loss": 1.0},
        "promotion": {"max_ece": None},
    }  # fmt: skip
    return small(root, changes)


if __name__ == "__main__":
    root = Path(sys.argv[1])
    params = settings(root, sys.argv[2])
    compare(params, go_through(params, root, (*DATA, *FLOORS, *MODELS), evaluated=NAMES))
