"""Rows of tokens and batches of them, with a target for each row or for each of its tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from stages.training.batches import by_row, collate, first_batches
from stages.training.distillation import TeacherAnswers
from stages.training.inference import predict_logits, scores_of
from stages.training.rows import TokenRows, rows_of

IDS: dict[str, Any] = {"row_id": ["a", "b", "b"], "input_ids": [[2, 50, 3], [2, 51, 52, 53, 3], [2, 3]]}
TAGGED = rows_of({**IDS, "labels": [[-1, 4, -1], [-1, 0, 1, 2, -1], [-1, -1]]})


class Doubled(nn.Module):
    """Puts out a token's id, and twice that, for each token."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([1.0, 2.0]))

    def forward(self, input_ids: torch.Tensor, _attention_mask: torch.Tensor) -> torch.Tensor:
        return input_ids.unsqueeze(-1) * self.scale


def test_batches_are_padded_to_their_longest_row() -> None:
    batch = collate([{"input_ids": [5, 6, 7], "target": 2}, {"input_ids": [8], "target": 0}], pad_id=9)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [2, 0]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


def test_targets_of_tokens_are_padded_with_what_is_none() -> None:
    batch = collate([TAGGED[0], TAGGED[1]], pad_id=0)
    assert batch["labels"].tolist() == [[-1, 4, -1, -1, -1], [-1, 0, 1, 2, -1]]
    assert batch["labels"].dtype == torch.int64


def test_numbers_with_a_point_stay_so_and_what_is_not_a_number_is_no_target() -> None:
    rows = rows_of({**IDS, "label": [3.5, -1.0, float("nan")]})
    assert rows.has_target.tolist() == [True, True, False]
    batch = collate([rows[0], rows[1]], pad_id=0)
    assert (batch["labels"].dtype, batch["labels"].tolist()) == (torch.float32, [3.5, -1.0])
    assert np.isnan(rows.and_unlabelled(np.array([2, 3]), np.array([2])).targets[-1])


def test_vectors_are_targets_of_rows_and_one_of_nothing_but_nan_is_none() -> None:
    nan = float("nan")
    rows = rows_of({**IDS, "label": [[1.0, 0.0], [0.0, 0.0], [nan, nan]]})
    assert (rows.targets.shape, rows.has_target.tolist()) == ((3, 2), [True, True, False])
    batch = collate([rows[0], rows[1]], pad_id=0)
    assert (batch["labels"].dtype, batch["labels"].tolist()) == (torch.float32, [[1.0, 0.0], [0.0, 0.0]])
    more = rows.and_unlabelled(np.array([2, 3, 2, 3]), np.array([2, 2]))
    assert (more.targets.shape, more.has_target.tolist()) == ((5, 2), [True, True, False, False, False])
    targets, logits = rows.answered(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=np.float32))
    assert targets == [[1.0, 0.0], [0.0, 0.0]]
    assert [one.tolist() for one in logits] == [[1.0, 2.0], pytest.approx([(15 + 10) / 7, (20 + 12) / 7])]


def test_a_row_has_a_target_where_one_of_its_tokens_has() -> None:
    assert TAGGED.has_target.tolist() == [True, True, False]
    assert TAGGED.first_of_texts.tolist() == [0, 1]


def test_rows_of_tokens_are_followed_by_others_without_targets() -> None:
    more = TAGGED.and_unlabelled(np.array([2, 9, 3, 2, 3]), np.array([3, 2]))
    assert more.targets.tolist() == [-1, 4, -1, -1, 0, 1, 2, -1, *[-1] * 7]
    assert more[1]["target"].tolist() == [-1, 0, 1, 2, -1]
    assert more[3]["input_ids"].tolist() == [2, 9, 3]
    assert more.has_target.tolist() == [True, True, False, False, False]
    assert TAGGED.renumbered([2, 3, 50, 51, 52, 53]).targets is TAGGED.targets


def test_logits_of_tokens_stand_row_after_row_whatever_the_order_in_which_they_were_made() -> None:
    logits = predict_logits(Doubled(), TAGGED, pad_id=0, precision="fp32", title="")
    assert logits.tolist() == [[float(n), 2.0 * n] for n in (2, 50, 3, 2, 51, 52, 53, 3, 2, 3)]


def test_each_window_of_tokens_is_scored_by_itself() -> None:
    seen: list[Any] = []
    logits = np.arange(20, dtype=np.float32).reshape(10, 2)
    scores_of(logits, TAGGED, lambda targets, found: (seen.extend([targets, found]), {})[1])
    assert [one.tolist() for one in seen[0]] == [[-1, 4, -1], [-1, 0, 1, 2, -1], [-1, -1]]
    assert [one.shape for one in seen[1]] == [(3, 2), (5, 2), (2, 2)]
    assert seen[1][2].tolist() == [[16.0, 17.0], [18.0, 19.0]]


@pytest.mark.parametrize("rows", [[1, 0], [2]])
def test_the_teachers_logits_of_tokens_come_as_a_padded_batch(rows: list[int]) -> None:
    logits = torch.arange(20.0).reshape(10, 2)
    found = TeacherAnswers(logits, {}, TAGGED).logits_of(np.array(rows), 5)
    assert isinstance(found, torch.Tensor)
    assert found.shape == (len(rows), 5, 2)
    for at, row in enumerate(rows):
        start, end = int(TAGGED.offsets[row]), int(TAGGED.offsets[row + 1])
        assert torch.equal(found[at, : end - start], logits[start:end])
        assert not found[at, end - start :].any()


def test_rows_that_are_a_part_of_others_begin_at_nothing() -> None:
    part = TokenRows(["b"], np.array([7]), np.array([3, 5]), np.array([2, 50, 3, 8, 9, 2]))
    assert part[0]["input_ids"].tolist() == [8, 9]
    assert (part.offsets.tolist(), part.used_tokens()) == ([0, 2], [8, 9])
    assert first_batches(part, count=5, pad_id=0)[0]["input_ids"].tolist() == [[8, 9]]


APART = rows_of({"row_id": ["a", "b"], "input_ids": [[2, 50, 3, 2, 3], [2, 3, 2, 51, 52, 3]], "second": [3, 2],
                 "label": [[0.5], [1.0]]})  # fmt: skip


class Lengths(nn.Module):
    """Puts out the number of a sequence's tokens, and its second token."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return torch.stack([attention_mask.sum(1), input_ids[:, 1]], dim=1) * self.scale


def test_rows_of_two_sequences_have_the_first_ones_of_a_batch_before_the_second_ones() -> None:
    batch = collate([APART[0], APART[1]], pad_id=0)
    assert batch["input_ids"].tolist() == [[2, 50, 3, 0], [2, 3, 0, 0], [2, 3, 0, 0], [2, 51, 52, 3]]
    assert batch["attention_mask"].sum(1).tolist() == [3, 2, 2, 4]
    assert batch["labels"].tolist() == [[0.5], [1.0]]
    assert "token_type_ids" not in batch
    of_rows = by_row(torch.arange(8.0).reshape(4, 2), batch)
    assert of_rows.tolist() == [[[0, 1], [4, 5]], [[2, 3], [6, 7]]]
    single = collate([{"input_ids": [5], "target": 0}], pad_id=0)
    assert by_row(torch.ones(1, 2), single).tolist() == [[1, 1]]


def test_sequences_of_a_row_are_found_among_all_tokens() -> None:
    assert APART.sequences.tolist() == [0, 3, 5, 7, 11]
    assert APART.sequences_of(np.array([1, 0])).tolist() == [2, 0, 3, 1]
    assert APART.lengths_of(np.array([1, 0])).tolist() == [2, 3, 4, 2]
    assert TAGGED.sequences is TAGGED.offsets
    assert TAGGED.lengths_of(np.array([1])).tolist() == [5]


def test_outputs_of_both_sequences_stand_side_by_side_and_copies_keep_their_places() -> None:
    logits = predict_logits(Lengths(), APART, pad_id=0, precision="fp32", title="")
    assert logits.tolist() == [[[3, 50], [2, 3]], [[2, 3], [4, 51]]]
    targets, of_each = APART.answered(logits)
    assert targets == [[0.5], [1.0]]
    assert [one.tolist() for one in of_each] == logits.tolist()
    more = APART.and_unlabelled(np.array([2, 9, 3, 2, 3, 2, 3, 2, 9, 52, 3]), np.array([5, 6]))
    assert (more.apart, [more[at]["second"] for at in range(4)]) == (True, [3, 2, 3, 2])
    assert more.renumbered([2, 3, 9, 50, 51, 52]).apart
