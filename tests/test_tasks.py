"""Text classification: what is encoded, padded, lost and scored, against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from stages.tasks.text_classification.answers import ANSWERS
from stages.tasks.text_classification.encoding import ENCODING
from stages.tasks.text_classification.learning import LEARNING


@pytest.fixture(scope="module")
def tokenizer(tiny_models: Callable[[str], Path]) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(tiny_models("bert"), local_files_only=True)


def test_texts_become_tokens_cut_before_the_end_mark(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = {"text": ["ship bread", "ship bread tree moss owl", ""], "label": ["b", "a", "b"]}
    encoded = ENCODING.encode(rows, tokenizer=tokenizer, labels=["a", "b"], max_tokens=5)
    words = [tokenizer.convert_ids_to_tokens(ids) for ids in encoded["input_ids"]]
    assert words == [
        ["[CLS]", "ship", "bread", "[SEP]"],
        ["[CLS]", "ship", "bread", "tree", "[SEP]"],
        ["[CLS]", "[SEP]"],
    ]
    assert encoded["label"] == [1, 0, 1]
    assert encoded["full_length"] == [4, 7, 2]


def test_a_tokenizer_that_pads_by_itself_does_not_pad_here(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.backend_tokenizer.enable_padding(length=16)
    encoded = ENCODING.encode({"text": ["ship"], "label": ["a"]}, tokenizer=tokenizer, labels=["a"], max_tokens=8)
    assert (len(encoded["input_ids"][0]), encoded["full_length"]) == (3, [3])


def test_a_label_without_training_rows_is_named(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = {"row_id": ["r1", "r2"], "text": ["ship", "moss"], "label": ["a", "z"]}
    with pytest.raises(ValueError, match=r"row r2 has the label 'z', which no training row has\. Allowed: a, b"):
        ENCODING.encode(rows, tokenizer=tokenizer, labels=["a", "b"], max_tokens=5)


def test_batches_are_padded_to_their_longest_row() -> None:
    batch = LEARNING.collate([{"input_ids": [5, 6, 7], "label": 2}, {"input_ids": [8], "label": 0}], pad_id=9)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [2, 0]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


def test_loss_is_the_mean_cross_entropy_in_float32() -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]], dtype=torch.bfloat16)
    loss = LEARNING.loss(logits, torch.tensor([0, 0]))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2, abs=2e-3)  # bf16 rounds log 3


def outputs(predicted: list[int]) -> np.ndarray:
    """Outputs of three labels, the largest where it is predicted."""
    return np.eye(3, dtype=np.float32)[predicted]


def test_macro_f1_averages_over_the_labels_present() -> None:
    # label 0: precision 2/3, recall 1, F1 0.8; label 1: precision 1, recall 1/2, F1 2/3; label 2 is not present
    scores = ANSWERS.score([0, 0, 1, 1], outputs([0, 0, 0, 1]))
    assert scores == {"accuracy": 0.75, "macro_f1": pytest.approx((0.8 + 2 / 3) / 2)}
    # label 1 is missed altogether (F1 0), label 0: precision 1, recall 1/2, F1 2/3
    assert ANSWERS.score([0, 0, 1], outputs([0, 2, 2]))["macro_f1"] == pytest.approx(1 / 3)


def test_models_agree_where_the_largest_outputs_are_of_one_label() -> None:
    assert ANSWERS.agreement(outputs([0, 1, 2, 2]), 7 * outputs([0, 1, 2, 0])) == 0.75
