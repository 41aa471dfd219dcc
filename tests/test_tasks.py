"""Text classification: what is encoded, padded, lost and scored, against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from stages.core.contracts import Head
from stages.tasks.text_classification.answers import ANSWERS
from stages.tasks.text_classification.encoding import ENCODING
from stages.tasks.text_classification.learning import LEARNING
from stages.tokens.encoded import encoded


@pytest.fixture(scope="module")
def tokenizer(tiny_models: Callable[[str], Path]) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(tiny_models("bert"), local_files_only=True)


def rows_as_tokens(
    texts: list[str], labels: list[str], tokenizer: PreTrainedTokenizerFast, *, max_tokens: int = 5
) -> dict[str, Any]:
    rows = {"row_id": [f"r{number}" for number in range(len(texts))], "text": texts, "label": labels}
    engine = tokenizer.backend_tokenizer
    return encoded(rows, task=ENCODING, tokenizer=engine, space={"labels": ["a", "b"]}, max_tokens=max_tokens)


def test_all_that_can_be_answered_are_the_labels_of_the_training_rows() -> None:
    assert ENCODING.space(["b", "a", "b"]) == {"labels": ["a", "b"]}
    assert LEARNING.head({"labels": ["a", "b", "c"]}) == Head("row", 3)
    assert LEARNING.guess({"labels": ["a", "b", "c"]}) == pytest.approx(math.log(3))


def test_texts_become_tokens_cut_before_the_end_mark(tokenizer: PreTrainedTokenizerFast) -> None:
    found = rows_as_tokens(["ship bread", "ship bread tree moss owl", ""], ["b", "a", "b"], tokenizer)
    words = [tokenizer.convert_ids_to_tokens(ids) for ids in found["input_ids"]]
    assert words == [
        ["[CLS]", "ship", "bread", "[SEP]"],
        ["[CLS]", "ship", "bread", "tree", "[SEP]"],
        ["[CLS]", "[SEP]"],
    ]
    assert found["label"] == [1, 0, 1]
    assert found["full_length"] == [4, 7, 2]


def test_a_tokenizer_that_pads_by_itself_does_not_pad_here(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.backend_tokenizer.enable_padding(length=16)
    found = rows_as_tokens(["ship"], ["a"], tokenizer, max_tokens=8)
    assert (len(found["input_ids"][0]), found["full_length"]) == (3, [3])


def test_a_label_without_training_rows_is_named(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ValueError, match=r"^row r1: no training row has the label 'z'\. Allowed: a, b\."):
        rows_as_tokens(["ship", "moss"], ["a", "z"], tokenizer)


def test_a_row_without_a_label_has_no_target_and_loses_nothing(tokenizer: PreTrainedTokenizerFast) -> None:
    labels: list[Any] = [None, "b"]
    assert rows_as_tokens(["ship", "moss"], labels, tokenizer)["label"] == [-1, 1]
    for smoothing in (0.0, 0.1):
        found = LEARNING.loss(torch.tensor([[3.0, 0.0], [0.0, 0.0]]), torch.tensor([-1, 1]), label_smoothing=smoothing)
        assert found.tolist() == [0.0, pytest.approx(math.log(2))]


def test_the_loss_is_the_cross_entropy_of_each_row_in_float32() -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]], dtype=torch.bfloat16)
    loss = LEARNING.loss(logits, torch.tensor([0, 0]))
    assert loss.dtype == torch.float32
    assert loss.tolist() == pytest.approx([math.log(2), math.log(4 / 3)], abs=2e-3)  # bf16 rounds log 3


def logits_of(predicted: list[int]) -> list[np.ndarray]:
    """Logits of three labels, the largest where it is predicted."""
    return list(np.eye(3, dtype=np.float32)[predicted])


def test_macro_f1_averages_over_the_labels_present() -> None:
    # label 0: precision 2/3, recall 1, F1 0.8; label 1: precision 1, recall 1/2, F1 2/3; label 2 is not present
    scores = LEARNING.score([0, 0, 1, 1], logits_of([0, 0, 0, 1]))
    assert scores == {"accuracy": 0.75, "macro_f1": pytest.approx((0.8 + 2 / 3) / 2)}
    # label 1 is missed altogether, and no row of label 2 is (F1 0); label 0: precision 1, recall 1/2, F1 2/3
    assert LEARNING.score([0, 0, 1], logits_of([0, 2, 2]))["macro_f1"] == pytest.approx(2 / 9)
    assert ANSWERS.score(["a", "a", "b"], ["a", "c", "c"], {})["macro_f1"] == pytest.approx(2 / 9)
