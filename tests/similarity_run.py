"""Two texts compared, through the stages to int8, in one process: python tests/similarity_run.py FOLDER KIND.

KIND is `numbers`, where the number is the share of words of the same topic, or `pairs`, where the second text has the
query's own words in other places.
"""

from __future__ import annotations

import csv
import random
import sys
from pathlib import Path

from conftest import REPOSITORY, TOPICS, write_tiny_model

from stages.baseline import baseline
from stages.cache_logits import cache_logits
from stages.clean import clean
from stages.compare import compare
from stages.core.files import sha256
from stages.core.params.file import Params, load_params
from stages.core.paths import MODELS, Paths
from stages.distill import distill
from stages.evaluate import evaluate
from stages.finetune import finetune
from stages.ingest import ingest
from stages.probe import probe
from stages.prune import prune
from stages.quantize import quantize
from stages.report import report
from stages.static import static
from stages.tokenize import tokenize
from stages.validate import validate

ROWS = 240
FILLER = ["the", "a", "with", "near", "under", "over", "some"]


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
    values = load_params(REPOSITORY / "params.yaml").model_dump(by_alias=True)
    model, data = write_tiny_model(root / "tiny", layers=2), root / "data/pairs.csv"
    data.parent.mkdir(parents=True)
    with data.open("w", newline="", encoding="utf-8") as file:
        rows = (of_numbers if kind == "numbers" else of_pairs)(random.Random(3))
        csv.writer(file).writerows([("one", "other", "target"), *rows, ("ship wave sailor", "", "1")])
    label = "target" if kind == "numbers" else "other"
    changes = {
        "task": {"name": "sentence_similarity", "measure": "spearman" if kind == "numbers" else "ndcg_at_10"},
        "ingest": {"source": "files", "path": str(data),
                   "columns": {"text": "one", "text_pair": "other", "label": label}},
        "clean": {"near_duplicate_jaccard": 0.95, "test_fraction": 0.25, "validation_fraction": 0.15},
        "validate": {"min_labels": 1, "max_label_share": None},
        "model": {"name": str(model), "revision": None, "sha256": sha256(model / "model.safetensors")},
        "tokenize": {"max_tokens": 12},
        "static": {"dimensions": 16},
        "finetune": {"epochs": 6, "batch_size": 16, "encoder_learning_rate": 5.0e-3, "freeze_embeddings": False,
                     "precision": "fp32", "patience": 6},
        "cache_logits": {"augmented_copies": 1, "vectors": ["hidden"], "layers": [1]},
        "distill": {"epochs": 4, "batch_size": 16, "encoder_learning_rate": 3.0e-3, "teacher_layers": [0, 1],
                    "precision": "fp32", "losses": values["distill"]["losses"] | {"hidden": 0.01}},
        "prune": {"common_words": 10, "epochs": 2, "heads_kept": 0.75, "feed_forward_kept": 0.5},
        "quantize": {"max_loss": 1.0},
        "evaluate": {"resamples": 100, "perturbed_rows": 5},
        "promotion": {"max_ece": None},
    }  # fmt: skip
    return Params.model_validate(values | {name: values[name] | own for name, own in changes.items()})


if __name__ == "__main__":
    root = Path(sys.argv[1])
    params, paths = settings(root, sys.argv[2]), Paths(root)
    (root / "metrics").mkdir()
    (root / "metrics/released_data.json").write_text("{}")
    for stage in (
        ingest, clean, validate, tokenize, report, baseline, static, probe, finetune, cache_logits, distill, prune,
        quantize,
    ):  # fmt: skip
        stage(params, paths)
    for name in MODELS:
        evaluate(params, paths, name)
    compare(params, paths)
