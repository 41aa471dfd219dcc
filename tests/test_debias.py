"""Unequal treatment mended in training: each way against numbers calculated by hand, and on a planted bias."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from bias_fixtures import LABELS, WORDS, mended, planted, planted_rows
from conftest import REPOSITORY
from test_engine import TOLERANCE, Lab, furthest, report, weights
from torch import nn

from flows.cli.mistakes import mistakes
from stages.core.params.debias import DebiasParams
from stages.core.params.file import Params, load_params
from stages.reading.clean_rows import read_split
from stages.tokenize import tokenize
from stages.tokens.people import groups_of, swapped_rows
from stages.training import adversary
from stages.training.people import Scales, balanced_draw, by_class, reweighing
from stages.training.rows import open_training_data

PARAMS = load_params(REPOSITORY / "params.yaml")


def settings(**changes: Any) -> DebiasParams:
    return DebiasParams.model_validate(PARAMS.debias.model_dump() | changes)


# Weights, draws and games, by hand


def test_reweighing_gives_each_group_and_class_the_rows_it_would_have_if_they_were_independent() -> None:
    # 4 of 6 rows are of group 0, 3 of 6 of class 1; class 1 has one row of group 0
    groups, targets = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 1])
    found = reweighing(groups, targets)
    assert found.tolist() == pytest.approx([4 * 3 / (6 * 3)] * 3 + [4 * 3 / (6 * 1)] + [2 * 3 / (6 * 2)] * 2)
    independent = np.array([found[(groups == a) & (targets == 1)].sum() / found[groups == a].sum() for a in (0, 1)])
    assert independent[0] < 1
    even = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    assert reweighing(*even).tolist() == [1, 1, 1, 1]


def test_groups_are_drawn_alike_however_large_and_the_same_by_seed_and_epoch() -> None:
    groups = np.array([0] * 9000 + [1] * 900 + [2] * 100)
    drawn = balanced_draw(groups, seed=3, epoch=0)
    assert len(drawn) == len(groups)
    shares = np.bincount(groups[drawn]) / len(groups)
    assert shares.tolist() == pytest.approx([1 / 3] * 3, abs=0.02)
    assert (balanced_draw(groups, seed=3, epoch=0) == drawn).all()
    assert (balanced_draw(groups, seed=3, epoch=1) != drawn).any()


def test_groups_by_class_are_those_that_occur() -> None:
    assert by_class(np.array([1, 0, 1, 1]), np.array([0, 2, 2, 0])).tolist() == [1, 0, 2, 1]


def test_a_step_of_group_dro_is_that_of_algorithm_1() -> None:
    """Three rows of group 0 with a mean loss of 2, one of group 1 with 5; none of group 2."""
    scales = Scales(np.array([0, 0, 0, 1, 2]), step_size=0.5)
    step, losses = np.array([0, 1, 2, 3]), torch.tensor([1.0, 2.0, 3.0, 5.0])
    each = scales.of(step, step, torch.device("cpu"))
    assert each.tolist() == pytest.approx([4 / 3 / 3] * 3 + [4 / 1 / 3])
    # the mean of loss * scale is the sum over the groups of weight * mean loss
    assert float((losses * each).mean()) == pytest.approx((2 + 5) / 3)
    scales.take(losses, step, torch.tensor([True] * 4))
    scales.end_step(step)
    grown = [math.exp(0.5 * 2) / 3, math.exp(0.5 * 5) / 3, 1 / 3]
    assert scales.q_G.tolist() == pytest.approx([one / sum(grown) for one in grown])
    assert scales.summed_G.tolist() == [0, 0, 0]


def test_a_row_that_stands_in_for_none_adds_nothing_to_its_groups_loss() -> None:
    scales = Scales(np.array([0, 1]), step_size=1.0)
    scales.take(torch.tensor([7.0]), np.array([0]), torch.tensor([False]))
    assert scales.summed_G.tolist() == [0, 0]


def test_the_encoder_gets_the_adversarys_gradient_turned_and_scaled_and_the_loss_keeps_its_value() -> None:
    torch.manual_seed(0)
    head, vectors = nn.Linear(3, 2), torch.randn(4, 3, requires_grad=True)
    groups = np.array([0, 1, 1, 0])
    adversary.attach(head, 2, 0.5)
    head.train()
    each = head(vectors).sum(1)
    found = adversary.unlearned(head, each, groups)
    assert torch.equal(found, each)
    found.sum().backward()
    got = vectors.grad
    guess = head.adversary
    plain = vectors.detach().clone().requires_grad_()
    logits = guess.out(torch.relu(guess.hidden(plain)))
    guessed = torch.nn.functional.cross_entropy(logits, torch.from_numpy(groups), reduction="sum")
    (of_guess,) = torch.autograd.grad(guessed, plain, retain_graph=True)
    expected = head.weight.sum(0).expand(4, 3) - 0.5 * of_guess
    torch.testing.assert_close(got, expected)
    (own,) = torch.autograd.grad(guessed, guess.out.weight)
    torch.testing.assert_close(guess.out.weight.grad, own)  # the adversary itself learns to guess
    adversary.detach(head)
    assert head.state_dict().keys() == {"weight", "bias"}
    assert not head._forward_hooks


def test_a_head_that_reads_no_vector_has_no_adversary() -> None:
    with pytest.raises(ValueError, match=r"adversarial.*Allowed: reweighing, group_balanced, worst_group"):
        adversary.attach(nn.Identity(), 2, 1.0)


# Rows: copies and groups


@pytest.fixture(scope="module")
def tiny(tiny_models: Callable[[str], Path]) -> Path:
    return tiny_models("bert")


def test_each_training_row_with_a_word_has_a_copy_with_it_swapped_behind_the_training_rows(
    tmp_path: Path, tiny: Path
) -> None:
    params, paths = planted(tmp_path / "project", tiny, debias__method="counterfactual")
    tokenize(params, paths)
    data = open_training_data(paths)
    rows = [row for row in planted_rows() if row[3] == "train"]
    copies = [name for name in data.train.row_ids if name.endswith(" own")]
    assert data.train.row_ids[: len(rows)] == sorted(row[0] for row in rows)
    assert data.train.row_ids[len(rows) :] == copies
    at = data.train.row_ids.index(copies[0])
    original = data.train.row_ids.index(copies[0].removesuffix(" own"))
    one, other = data.train[original], data.train[at]
    changed = np.flatnonzero(one["input_ids"] != other["input_ids"])
    assert len(changed) == 1
    assert one["target"] == other["target"]
    assert json.loads(paths.token_report.read_text())["counterfactual"]["rows"] == len(copies)


def test_no_copy_is_a_text_that_is_there_already() -> None:
    table = pq.read_table  # what is read is small
    del table
    rows = _table(["he sat", "she sat", "he ran", "tables"])
    found = swapped_rows(rows, settings(method="counterfactual"), ["she ran"])
    assert found is not None


def _table(texts: list[str]) -> Any:
    import pyarrow as pa

    names = [f"row-{at}" for at in range(len(texts))]
    return pa.table({"row_id": names, "text": texts, "label": ["a"] * len(texts)})
