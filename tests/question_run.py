"""Questions through the stages, to int8, in one process: python tests/question_run.py FOLDER.

Each passage has two words of the sea, side by side, which answer both of its questions; or none, and they have none.
The first is one of FIRST, the second one of SECOND, so that a single token tells where an answer begins.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

from conftest import REPOSITORY, TOPICS, write_tiny_model

from stages.baseline import baseline
from stages.cache_logits import cache_logits
from stages.clean import clean
from stages.core.files import sha256
from stages.core.params.file import Params, load_params
from stages.core.paths import Paths
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

PASSAGES = 150
FIRST, SECOND = TOPICS["sea"][::2], TOPICS["sea"][1::2]
FILLER = ["the", "a", "with", "near", "under", "over", "some"]


def passage(draw: random.Random, number: int) -> dict[str, Any]:
    """A passage of 14 to 30 words with two questions; every third has no answer."""
    words = [draw.choice([*TOPICS["kitchen"], *TOPICS["forest"], *FILLER]) for _ in range(draw.randint(14, 30))]
    answer = f"{draw.choice(FIRST)} {draw.choice(SECOND)}"
    at = draw.randrange(len(words))
    has_answer = number % 3 > 0
    text = " ".join([*words[:at], answer, *words[at:]] if has_answer else words)
    start = text.index(answer) if has_answer else 0
    accepted = [{"text": answer, "answer_start": start}, {"text": answer.split()[0], "answer_start": start}]
    asked = [f"{' '.join(draw.sample(FILLER, 2))} {word}" for word in draw.sample(TOPICS["sea"], 2)]
    qas = [
        {"id": f"{number}-{place}", "question": question, "is_impossible": not has_answer,
         "answers": accepted if has_answer else []}
        for place, question in enumerate(asked)
    ]  # fmt: skip
    return {"context": text, "qas": qas}


def write_questions(path: Path) -> Path:
    """SQuAD's JSON: PASSAGES passages in ten articles; and one question whose answer stands elsewhere."""
    draw = random.Random(3)
    passages = [passage(draw, number) for number in range(PASSAGES)]
    wrong = {"id": "wrong", "question": "the ship", "answers": [{"text": "bread", "answer_start": 1}]}
    passages[0]["qas"].append(wrong)
    articles = [{"title": f"part {at}", "paragraphs": passages[at::10]} for at in range(10)]
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"version": "v2.0", "data": articles}), encoding="utf-8")
    return path


def settings(root: Path) -> Params:
    """The project's params.yaml, with a tiny model and few epochs."""
    values = load_params(REPOSITORY / "params.yaml").model_dump(by_alias=True)
    model = write_tiny_model(root / "tiny", layers=2)
    changes = {
        "task": {"name": "question_answering", "measure": "token_f1"},
        "ingest": {"source": "files", "path": str(write_questions(root / "data/questions.json")),
                   "columns": {"text": "context", "text_pair": "question", "label": "answers"},
                   "keep_columns": ["title"]},
        "clean": {"near_duplicate_jaccard": 0.95},
        "model": {"name": str(model), "revision": None, "sha256": sha256(model / "model.safetensors")},
        "tokenize": {"max_tokens": 24, "long_texts": "windows", "stride": 6},
        "static": {"dimensions": 16, "inverse_regularizations": [1.0]},
        "probe": {"inverse_regularizations": [1.0]},
        "finetune": {"epochs": 8, "batch_size": 16, "encoder_learning_rate": 5.0e-3, "head_learning_rate": 2.0e-2,
                     "freeze_embeddings": False, "precision": "fp32", "patience": 8},
        "cache_logits": {"augmented_copies": 1},
        "distill": {"epochs": 4, "batch_size": 16, "encoder_learning_rate": 3.0e-3, "teacher_layers": [0, 1],
                    "precision": "fp32"},
        "prune": {"common_words": 10, "epochs": 2, "heads_kept": 0.75, "feed_forward_kept": 0.5},
        "evaluate": {"resamples": 100, "perturbed_rows": 5},
    }  # fmt: skip
    return Params.model_validate(values | {name: values[name] | own for name, own in changes.items()})


if __name__ == "__main__":
    root = Path(sys.argv[1])
    params, paths = settings(root), Paths(root)
    (root / "metrics").mkdir()
    (root / "metrics/released_data.json").write_text("{}")
    for stage in (
        ingest, clean, validate, tokenize, report, baseline, static, probe, finetune, cache_logits, distill, prune,
        quantize,
    ):  # fmt: skip
        stage(params, paths)
    for name in ("baseline", "static", "quantized"):
        evaluate(params, paths, name)
