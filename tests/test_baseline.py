"""The baseline: words where they work, characters where they do not, and an answer whatever the texts are."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import REPOSITORY, TOPICS, run

from stages.backends.runners import open_runner
from stages.baseline import baseline
from stages.core.contracts import Runner
from stages.core.params.file import load_params
from stages.core.paths import Paths
from stages.tasks.shared.words import WORDS_WORK, words_reach
from stages.tasks.text_classification.answers import ANSWERS

PARAMS = load_params(REPOSITORY / "params.yaml")
WORDS = {
    "room": ["\u623f\u95f4", "\u5e8a\u94fa", "\u5e72\u51c0", "\u5b89\u9759", "\u6d74\u5ba4"],
    "food": ["\u65e9\u9910", "\u5496\u5561", "\u597d\u5403", "\u9762\u5305", "\u7c73\u996d"],
}
EMOJI = {"glad": ["\U0001f600", "\U0001f60d", "\u2764\ufe0f"], "sad": ["\U0001f622", "\U0001f494", "\U0001f62d"]}


def trained(folder: Path, texts: Mapping[str, Sequence[str]], *, also: Sequence[str] = ()) -> tuple[Runner, dict]:
    """The baseline of these texts, by label, and its model.json; `also`: splits that have the rows too."""
    paths = Paths(folder)
    paths.clean.parent.mkdir(parents=True)
    rows = [
        {"row_id": f"{label}-{at}", "text": text, "label": label, "origin": "here", "split": split}
        for split in ("train", *also)
        for label, some in texts.items()
        for at, text in enumerate(some)
    ]
    pq.write_table(pa.Table.from_pylist(rows), paths.clean)
    baseline(PARAMS, paths)
    folder = paths.model("baseline")
    return open_runner(folder, threads=1), json.loads((folder / "model.json").read_text())


def drawn(words: dict[str, list[str]], between: str, rows: int = 30) -> dict[str, list[str]]:
    draw = random.Random(4)
    return {label: [between.join(draw.choices(some, k=4)) for _ in range(rows)] for label, some in words.items()}


def answers(runner: Runner, texts: Sequence[str]) -> list[str]:
    return ANSWERS.answers(runner.predict(texts), runner.space)


@pytest.mark.parametrize("words", [WORDS, EMOJI])
def test_characters_are_taken_where_there_are_no_words_and_tell_the_labels(
    tmp_path: Path, words: dict[str, list[str]]
) -> None:
    runner, description = trained(tmp_path, drawn(words, ""))
    assert (description["analyzer"], description["max_ngram"]) == ("char_wb", 3)
    for label, some in words.items():  # orders that no training row has
        assert answers(runner, ["".join(some), "".join(reversed(some))]) == [label] * 2


def test_words_are_taken_where_there_are_some(tmp_path: Path) -> None:
    runner, description = trained(tmp_path, drawn({key: TOPICS[key] for key in ("sea", "kitchen")}, " "))
    assert (description["analyzer"], description["max_ngram"]) == ("word", 2)
    assert answers(runner, ["ship tide", "oven"]) == ["sea", "kitchen"]


@pytest.mark.parametrize(
    ("text", "work"),
    [
        ("The room was clean, and breakfast was good \U0001f600", True),
        ("\u041d\u043e\u043c\u0435\u0440 \u0431\u044b\u043b \u0447\u0438\u0441\u0442\u044b\u0439", True),
        ("\u0643\u0627\u0646\u062a \u0627\u0644\u063a\u0631\u0641\u0629 \u0646\u0638\u064a\u0641\u0629", True),
        ("\ubc29\uc740 \uc544\uc8fc \uae68\ub057\ud588\uc5b4\uc694", True),
        ("Returns `x_train` as float32 (n, 12); see [docs].", True),
        ("\u623f\u95f4\u5f88\u5e72\u51c0\uff0c\u65e9\u9910\u5f88\u5dee\u3002", False),
        ("\u90e8\u5c4b\u306f\u304d\u308c\u3044\u3067\u3057\u305f", False),
        ("\u0e2b\u0e49\u0e2d\u0e07\u0e1e\u0e31\u0e01\u0e2a\u0e30\u0e2d\u0e32\u0e14", False),
        ("\u0915\u092e\u0930\u093e \u092c\u0939\u0941\u0924 \u0938\u093e\u092b \u0925\u093e", False),
        ("\U0001f600\U0001f60d", False),
        (":-)", False),
    ],
)
def test_words_work_by_what_of_a_text_they_reach(text: str, work: bool) -> None:
    assert (words_reach([text]) >= WORDS_WORK) == work


FITTED = """
import hashlib, random
from pathlib import Path
from stages.tasks.shared import words as shared_words
from stages.tasks.text_classification import baseline
from stages.core.params.file import load_params

draw, words = random.Random(5), [f"word{number}" for number in range(3000)]
texts = [" ".join(draw.choices(words[label * 200 :], k=12)) for label in range(8) for _ in range(60)]
vectorizer, rows = shared_words.fitted_vectorizer(texts, "word", 2)
labels = [str(label) for label in range(8) for _ in range(60)]
found = baseline.coefficients_of(rows, labels, load_params(Path("params.yaml")))
print(hashlib.sha256(b"".join(array.tobytes() for array in (vectorizer.idf_, rows.data, *found))).hexdigest())
"""


def test_the_weights_are_the_same_to_the_last_bit_on_every_processor() -> None:
    """OpenBLAS and numpy have other code for other processors, which adds up in another order."""
    processors: tuple[dict[str, Any], ...] = (
        {"OPENBLAS_CORETYPE": "Nehalem"},
        {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "2"},
        {"OPENBLAS_CORETYPE": "SkylakeX", "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4"},
    )
    found = {run(REPOSITORY, sys.executable, "-c", FITTED, **processor).stdout for processor in processors}
    assert len(found) == 1


def test_texts_without_any_n_gram_are_answered_with_the_commonest_label(tmp_path: Path) -> None:
    runner, _ = trained(tmp_path, {"a": ["\u2028"] * 3, "b": [" "] * 9})
    assert np.allclose(runner.predict(["x", " "]).values, [[0.25, 0.75]] * 2)
