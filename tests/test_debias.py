"""Unequal treatment mended in training: each way against numbers calculated by hand, and on a planted bias."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from bias_fixtures import mended, planted, planted_rows
from conftest import REPOSITORY
from test_engine import TOLERANCE, Lab, furthest, report, weights
from torch import nn

from stages.cleaning.alike import like_others
from stages.core import plugins
from stages.core.contracts import Text
from stages.core.params.debias import DebiasParams, faults_of_debias
from stages.core.params.file import load_params
from stages.tasks import TASKS
from stages.tasks.contract import TaskEncoding
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
    guess = getattr(head, adversary.NAME)
    assert isinstance(guess, adversary.Adversary)
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
    assert data.train.row_ids[: len(rows)] == [row[0] for row in rows]
    assert data.train.row_ids[len(rows) :] == copies
    at = data.train.row_ids.index(copies[0])
    original = data.train.row_ids.index(copies[0].removesuffix(" own"))
    one, other = data.train[original], data.train[at]
    changed = np.flatnonzero(one["input_ids"] != other["input_ids"])
    assert len(changed) == 1
    assert one["target"] == other["target"]
    assert json.loads(paths.token_report.read_text())["counterfactual"]["rows"] == len(copies)


def test_no_copy_is_a_text_that_is_there_already_and_each_list_makes_one_of_its_own() -> None:
    rows = table(["He sat.", "she sat", "he ran", "tables", "a Muslim and his son"])
    how = settings(method="counterfactual", swaps=["gender_en", "religion_en"])
    found = swapped_rows(rows, how, leaking("she ran"))
    assert dict(zip(found["row_id"].to_pylist(), found["text"].to_pylist(), strict=True)) == {
        "row-0 gender_en": "She sat.",
        "row-1 gender_en": "he sat",
        "row-4 gender_en": "a Muslim and her daughter",
        "row-4 religion_en": "a Jewish and his son",
    }
    assert set(found["label"].to_pylist()) == {"a"}
    with pytest.raises(ValueError, match=r"debias\.swaps is 'sexuality_en', and no training row has such a word"):
        swapped_rows(rows, settings(method="counterfactual", swaps="sexuality_en"), leaking())


def test_no_copy_is_nearly_a_text_that_is_measured_on() -> None:
    rows = table(["he was here, and the king of all these lands", "my father went out", "his cat"])
    measured = ["She was here - and the queen of all these lands!", "My mother went out"]
    found = swapped_rows(rows, settings(method="counterfactual"), leaking(*measured))
    assert found["text"].to_pylist() == ["her cat"]
    pairs = table(["he sat", "he ran"]).append_column("text_pair", pa.array(["his chair", "a king of lands"]))
    found = swapped_rows(pairs, settings(method="counterfactual"), leaking(("A queen of lands.", "She ran")))
    assert found["text"].to_pylist() == ["she sat"]


def test_of_pairs_both_texts_are_swapped() -> None:
    rows = table(["he sat", "tables"]).append_column("text_pair", pa.array(["his chair", "a king"]))
    found = swapped_rows(rows, settings(method="counterfactual"), leaking())
    assert found["text"].to_pylist() == ["she sat", "tables"]
    assert found["text_pair"].to_pylist() == ["her chair", "a queen"]


def leaking(*measured: Text) -> Callable[[Sequence[Text]], np.ndarray]:
    """What says which copies are like a text that is measured on."""
    return lambda texts: like_others(texts, measured, jaccard=0.8)


def table(texts: list[str], **columns: list[str]) -> pa.Table:
    names = [f"row-{at}" for at in range(len(texts))]
    return pa.table({"row_id": names, "text": texts, "label": ["a"] * len(texts), **columns})


def test_groups_are_the_values_of_a_column_or_those_whom_words_stand_for() -> None:
    kept = [json.dumps({"who": who}) for who in ("x", "y", None, "x")]
    rows = table(["he", "she", "tables", "his"], kept=kept)
    of_column = groups_of(rows, settings(method="worst_group", group_column="who"))
    assert of_column == {"names": ["(none)", "x", "y"], "train": [1, 2, 0, 1]}
    of_words = groups_of(rows, settings(method="worst_group", group_column="identity_words"))
    assert of_words == {"names": ["(none)", "female", "male"], "train": [2, 1, 0, 2]}
    with pytest.raises(ValueError, match=r"group_column is 'whom'\. Allowed: identity_words, who; more by"):
        groups_of(rows, settings(method="worst_group", group_column="whom"))
    with pytest.raises(ValueError, match=r"by which all training rows are one group, x"):
        groups_of(rows.take([0, 3]), settings(method="worst_group", group_column="who"))


def test_tokens_are_the_same_bytes_where_nothing_is_mended(tmp_path: Path, tiny: Path) -> None:
    params, paths = planted(tmp_path / "project", tiny)
    tokenize(params, paths)
    assert sorted(path.name for path in paths.tokens.iterdir()) == ["space.json", "test", "train", "validation"]
    data = open_training_data(paths)
    assert (data.groups, data.balanced_N) == (None, None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "reweighing"}, "method is 'reweighing', and group_column null"),
        ({"method": "counterfactual", "swaps": []}, "method is 'counterfactual', and swaps has no words"),
        ({"method": "worst_group", "group_column": "identity_words", "swaps": []}, "swaps has no words"),
        ({"swaps": [["he", "she"], ["he", "they"]]}, "swaps has 'he' more than once"),
        ({"swaps": ["gender_en", "gender_en"]}, "the list 'gender_en' more than once"),
    ],
)
def test_what_a_method_lacks_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        settings(**changes)


@pytest.mark.parametrize(
    ("task", "changes", "said"),
    [
        ("token_classification", {"method": "counterfactual"}, "whose targets name places of the text"),
        ("text_generation", {"method": "counterfactual"}, "whose targets are written"),
        ("regression", {"method": "reweighing", "group_column": "who"}, "whose rows have no single label"),
        ("sentence_similarity", {"method": "worst_group", "group_column": "who"}, "a row has no loss of its own"),
        ("image_text_matching", {"method": "adversarial", "group_column": "who"}, "a row has no loss of its own"),
        ("text_classification", {"method": "worst_group", "group_column": "whom"}, "Allowed: who, identity_words."),
    ],
)
def test_winnow_check_says_what_does_not_go_together(task: str, changes: dict[str, Any], said: str) -> None:
    params = PARAMS.model_copy(
        update={
            "task": PARAMS.task.model_copy(update={"name": task}),
            "ingest": PARAMS.ingest.model_copy(update={"keep_columns": ["who"]}),
            "debias": settings(**changes),
        }
    )
    encoding: TaskEncoding = plugins.part(TASKS, task, "encoding", key="task.name")
    assert [said in line for line in faults_of_debias(params, encoding)] == [True]


# On the engine

GAME: dict[str, Any] = {"step_size": 5.0}
RUNS: dict[str, dict[str, Any]] = {
    "whole": {**GAME, "changes": {"epochs": 1, "batch_size": 20}},
    "parts": {**GAME, "changes": {"epochs": 1, "batch_size": 10, "accumulation_steps": 2}},
    "without": {"changes": {"epochs": 1, "batch_size": 20}},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def home(lab: Lab) -> Path:
    return lab.run_all(RUNS)


def test_accumulation_changes_nothing_of_the_game_between_groups(home: Path) -> None:
    assert furthest(weights(home / "whole"), weights(home / "parts"))[0] < TOLERANCE
    assert report(home / "whole")["q"] == pytest.approx(report(home / "parts")["q"], abs=1e-5)
    one, other = report(home / "whole")["q"]
    assert abs(one - other) > 0.01  # both began with 1/2
    assert furthest(weights(home / "whole"), weights(home / "without"))[0] > 10 * TOLERANCE


def test_two_processes_play_the_same_game_as_one(lab: Lab, home: Path) -> None:
    two = lab.run("two", **RUNS["whole"], processes=2)
    assert report(two)["world"] == 2
    assert furthest(weights(home / "whole"), weights(two))[0] < TOLERANCE
    assert report(two)["q"] == pytest.approx(report(home / "whole")["q"], abs=1e-5)


def test_a_killed_run_goes_on_with_the_groups_weights(lab: Lab, home: Path, tmp_path: Path) -> None:
    options = {**RUNS["whole"], "checkpoints": tmp_path / "checkpoints"}
    lab.run("killed", **options, kill_at=4, expect=-9)
    again = lab.run("killed", **options)
    assert report(again)["q"] == report(home / "whole")["q"]
    assert furthest(weights(home / "whole"), weights(again))[0] == 0


# The planted bias


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Mapping[str, Any]:
    return mended(tmp_path_factory.mktemp("plain") / "project", tiny)


def test_a_model_learns_the_planted_bias(plain: Mapping[str, Any]) -> None:
    assert plain["worst"] < 0.4
    assert plain["flip_rate"] > 0.3
    assert "debias" not in plain


def test_swapped_copies_take_the_bias_away(plain: Mapping[str, Any], tmp_path: Path, tiny: Path) -> None:
    found = mended(tmp_path / "project", tiny, debias__method="counterfactual")
    assert found["flip_rate"] < 0.2 * plain["flip_rate"]
    assert found["accuracy"] > plain["accuracy"] - 0.01
    assert found["worst"] > plain["worst"] + 0.2


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("reweighing", {}),
        ("group_balanced", {}),
        ("worst_group", {"debias__step_size": 0.1}),
        ("adversarial", {}),
    ],
)
def test_the_worst_groups_error_falls(
    method: str, changes: dict[str, Any], plain: Mapping[str, Any], tmp_path: Path, tiny: Path
) -> None:
    found = mended(tmp_path / "project", tiny, debias__method=method, debias__group_column="who", **changes)
    assert found["worst"] > plain["worst"] + 0.1
    assert found["debias"]["method"] == method
    assert sum(found["debias"]["rows"].values()) == 400
