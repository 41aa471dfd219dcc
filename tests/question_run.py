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

from conftest import TOPICS
from small_run import DATA, FILLER, FLOORS, MODELS, go_through, small

from stages.core.params.file import Params

PASSAGES = 150
FIRST, SECOND = TOPICS["sea"][::2], TOPICS["sea"][1::2]


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
    changes: dict[str, dict[str, Any]] = {
        "task": {"name": "question_answering", "measure": "token_f1"},
        "ingest": {"source": "files", "path": str(write_questions(root / "data/questions.json")),
                   "columns": {"text": "context", "text_pair": "question", "label": "answers"},
                   "keep_columns": ["title"]},
        "tokenize": {"max_tokens": 24, "long_texts": "windows", "stride": 6},
        "static": {"dimensions": 32, "inverse_regularizations": [1.0, 10.0, 100.0]},
        "probe": {"inverse_regularizations": [1.0]},
    }  # fmt: skip
    return small(root, changes)


if __name__ == "__main__":
    root = Path(sys.argv[1])
    go_through(settings(root), root, (*DATA, *FLOORS, *MODELS), evaluated=("baseline", "static", "quantized"))
