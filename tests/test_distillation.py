"""Distillation: the losses and how they add up, the teacher's vectors and how they are kept, and bad input."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_models import IDS, MASK, build
from torch import nn
from torch.nn import functional

from stages.compression.augmentation import with_tokens_hidden
from stages.core.params.distill import CacheLogitsParams, LossWeights
from stages.models.encoder import FAMILY
from stages.tasks.text_classification.learning import LEARNING
from stages.training.batches import collate
from stages.training.distillation import LOSSES, Matched, TeacherAnswers, distillation_loss, relation
from stages.training.rows import TokenRows
from stages.training.vectors import caught, padded, predict_logits_and_vectors, vector_names

ROWS = TokenRows(
    ["a", "b", "c"], np.array([0, 1, 2]), np.array([0, 5, 8, 10]), np.array([2, 50, 51, 52, 3, 2, 53, 3, 2, 3])
)
ALL = ("embeddings", "hidden", "queries", "keys", "values")


def pair(student: dict[str, Any], teacher: dict[str, Any], mask: list[list[float]], **changes: Any) -> Matched:
    logits = torch.zeros(len(mask), 2)
    values: dict[str, Any] = {
        "task": LEARNING, "student_logits": logits, "teacher_logits": logits, "temperature": 1.0, "heads": 1,
        "targets": torch.zeros(len(mask), dtype=torch.int64), "mask_BT": torch.tensor(mask),
    }  # fmt: skip
    return Matched(student=student, teacher=teacher, **{**values, **changes})


def predicted(teacher: nn.Module, names: list[str], folder: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    return predict_logits_and_vectors(
        teacher, lambda: FAMILY.taps(teacher), names, ROWS, folder=folder, pad_id=0, precision="fp32", title="teacher",
    )  # fmt: skip


def answers(teacher: nn.Module, names: list[str]) -> TeacherAnswers:
    _, kept = predicted(teacher, names, Path(tempfile.gettempdir()))
    logits = torch.tensor([[1.0, 0.0, -1.0], [0.0, 2.0, 0.0], [0.5, 0.5, 0.0]])
    return TeacherAnswers(logits, {name: torch.from_numpy(array) for name, array in kept.items()}, ROWS)


def one_batch(rows: list[int]) -> dict[str, torch.Tensor]:
    return collate([ROWS[row] for row in rows], pad_id=0)


def test_losses_add_up_by_their_weights(tiny_models: Callable[[str], Path]) -> None:
    kept = answers(build(tiny_models("bert")), [])
    assert isinstance(kept.logits, torch.Tensor)
    student = torch.tensor([[0.3, 0.2, 0.1], [0.0, 1.0, 0.0]])
    soft = functional.kl_div(
        functional.log_softmax(student / 2, -1), functional.log_softmax(kept.logits[[2, 1]] / 2, -1),
        log_target=True, reduction="batchmean",
    ) * 4  # fmt: skip
    hard = functional.cross_entropy(student, torch.tensor([2, 1]))
    with distillation_loss({"logits": 0.7, "labels": 0.2}, temperature=2.0, task=LEARNING, answers=kept) as loss:
        assert loss(student, one_batch([2, 1]), np.array([2, 1])).item() == pytest.approx(
            (0.7 * soft + 0.2 * hard).item()
        )


@pytest.mark.parametrize("name", ["hidden", "embeddings", "attention_relations", "value_relations"])
def test_a_student_that_is_its_teacher_loses_nothing_and_another_does(
    tiny_models: Callable[[str], Path], name: str
) -> None:
    teacher = build(tiny_models("bert"))
    kept = answers(teacher, vector_names(ALL, [0, 2]))
    student = FAMILY.student(teacher, [0, 1, 2]).train()
    batch, rows = one_batch([0, 1, 2]), np.array([0, 1, 2])
    with distillation_loss(
        {name: 1.0}, temperature=1.0, task=LEARNING, answers=kept, taps=lambda: FAMILY.taps(student),
        teacher_layers=[0, 1, 2], heads=lambda: 4,
    ) as loss:  # fmt: skip
        same = loss(student(batch["input_ids"], batch["attention_mask"]), batch, rows).item()
        with torch.no_grad():
            for weight in student.encoder.parameters():
                weight.mul_(-2.0)
        other = loss(student(batch["input_ids"], batch["attention_mask"]), batch, rows).item()
    assert same == pytest.approx(0, abs=1e-5)
    assert other > 1e-4


def test_the_vectors_of_rows_that_are_two_sequences_are_those_of_each(tiny_models: Callable[[str], Path]) -> None:
    teacher = build(tiny_models("bert"))
    rows = TokenRows(
        ["a", "b"], np.array([[0.0], [1.0]]), np.array([0, 5, 10]), np.array([2, 50, 3, 2, 3, 2, 3, 2, 51, 3]),
        np.array([3, 2]), apart=True,
    )  # fmt: skip
    _, kept = predict_logits_and_vectors(
        teacher, lambda: FAMILY.taps(teacher), ["hidden.2"], rows, folder=Path(tempfile.gettempdir()), pad_id=0,
        precision="fp32", title="teacher",
    )  # fmt: skip
    found = TeacherAnswers(torch.zeros(2, 2, 3), {"hidden.2": torch.from_numpy(kept["hidden.2"])}, rows)
    of_rows = found.batch(np.array([1, 0]), 3, {"hidden.0": "hidden.2"})["hidden.0"]
    assert of_rows.shape == (4, 3, 32)
    for at, ids in enumerate([[2, 3], [2, 50, 3], [2, 51, 3], [2, 3]]):
        with torch.no_grad():
            alone = teacher.encoder(input_ids=torch.tensor([ids])).last_hidden_state[0]
        assert torch.allclose(of_rows[at, : len(ids)], alone, atol=1e-2)  # kept in 16 bits
        assert not of_rows[at, len(ids) :].any()


def test_a_students_layer_is_compared_with_the_teachers_layer_that_it_began_as(
    tiny_models: Callable[[str], Path],
) -> None:
    teacher = build(tiny_models("bert"))
    kept = answers(teacher, ["hidden.2"])
    student = FAMILY.student(teacher, [0, 2]).train()
    with distillation_loss(
        {"hidden": 1.0}, temperature=1.0, task=LEARNING, answers=kept, taps=lambda: FAMILY.taps(student),
        teacher_layers=[0, 2],
    ) as loss:  # fmt: skip
        batch = one_batch([0])
        logits = student(batch["input_ids"], batch["attention_mask"])
        with torch.no_grad():
            own = student.encoder(input_ids=batch["input_ids"]).last_hidden_state
            theirs = teacher.encoder(input_ids=batch["input_ids"]).last_hidden_state
        expected = (own - theirs).square().mean().item()
        assert loss(logits, batch, np.array([0])).item() == pytest.approx(expected, rel=1e-2)  # kept in 16 bits


def test_hidden_vectors_are_compared_over_real_tokens_only() -> None:
    student = torch.tensor([[[1.0, 3.0], [100.0, 100.0]]])
    teacher = torch.zeros(1, 2, 2)
    assert LOSSES["hidden"].loss(pair({"hidden.0": student}, {"hidden.0": teacher}, [[1.0, 0.0]])).item() == 5.0


def test_a_relation_is_a_softmax_over_real_tokens_for_each_head() -> None:
    vectors = torch.tensor([[[1.0, 2.0], [0.0, 1.0], [9.0, 9.0]]])
    found = relation(vectors, vectors, torch.tensor([[1.0, 1.0, 0.0]]), heads=2).exp()
    # heads of width 1: the first token's first head relates by 1 * 1 to itself, by 1 * 0 to the second
    assert found[0, 0, 0].tolist() == pytest.approx([math.e / (math.e + 1), 1 / (math.e + 1), 0.0])
    assert found[0, 1, 1].tolist() == pytest.approx(
        [math.e**2 / (math.e**2 + math.e), math.e / (math.e**2 + math.e), 0.0]
    )


def test_value_relations_are_the_mean_divergence_over_real_tokens() -> None:
    student, teacher = torch.zeros(1, 3, 1), torch.tensor([[[1.0], [0.0], [7.0]]])
    p = math.e / (math.e + 1)
    divergence = p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p))
    found = LOSSES["value_relations"].loss(pair({"values.0": student}, {"values.0": teacher}, [[1.0, 1.0, 0.0]]))
    assert found.item() == pytest.approx(divergence / 2)  # the second token's relations are equal in both


def test_relations_do_not_need_the_teachers_width_and_hidden_vectors_do() -> None:
    narrow, wide = torch.zeros(1, 2, 2), torch.zeros(1, 2, 4)
    wide[0, 0] = 2**-0.25  # in each of two heads of width 2 the first token relates to itself by 1, else all by 0
    p = math.e / (math.e + 1)
    one_row = p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p))
    found = LOSSES["value_relations"].loss(pair({"values.0": narrow}, {"values.0": wide}, [[1.0, 1.0]], heads=2))
    assert found.item() == pytest.approx(one_row / 2)
    narrow, wide = narrow[:, :1], wide[:, :1]
    with pytest.raises(ValueError, match="a width of 2, the teacher's 4"):
        LOSSES["hidden"].loss(pair({"hidden.0": narrow}, {"hidden.0": wide}, [[1.0]]))
    with pytest.raises(ValueError, match="cannot be taken apart into the teacher's 3 heads"):
        LOSSES["value_relations"].loss(pair({"values.0": narrow}, {"values.0": wide}, [[1.0]], heads=3))


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta"])
def test_vectors_are_kept_row_after_row_and_come_back_as_batches(tiny_models: Callable[[str], Path], kind: str) -> None:
    teacher = build(tiny_models(kind))
    kept = answers(teacher, vector_names(ALL, [1]))
    assert kept.vectors.keys() == {"embeddings", "hidden.1", "queries.1", "keys.1", "values.1"}
    assert {tuple(v.shape) for v in kept.vectors.values()} == {(10, 32)}
    with torch.inference_mode(), caught(FAMILY.taps(teacher), ["hidden.1"]) as vectors:
        teacher(IDS, MASK)
        theirs = vectors["hidden.1"] * MASK.unsqueeze(-1)
    found = padded(kept.vectors["hidden.1"], ROWS.offsets, np.array([0, 1]), 5)
    assert torch.allclose(found, theirs, atol=2e-3)


def test_the_teacher_runs_once_for_logits_and_vectors_and_these_are_not_in_memory(
    tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    teacher = build(tiny_models("bert"))
    runs: list[int] = []
    teacher.register_forward_hook(lambda _module, inputs, _output: runs.append(len(inputs[0])))
    logits, kept = predicted(teacher, ["values.1", "embeddings"], tmp_path)
    assert runs == [len(ROWS)]
    assert all(isinstance(array, np.memmap) for array in kept.values())
    assert list(tmp_path.iterdir()) == [], "whoever dies leaves nothing behind"
    batch = one_batch([1])
    with torch.inference_mode():
        assert np.allclose(logits[1], teacher(batch["input_ids"], batch["attention_mask"]).numpy(), atol=1e-5)


def test_what_is_not_caught_any_more_is_not_kept(tiny_models: Callable[[str], Path]) -> None:
    model = build(tiny_models("bert"))
    with caught(FAMILY.taps(model), ["hidden.0"], when_training=True) as vectors:
        model(IDS, MASK)
        assert not vectors, "the model is not in training"
        model.train()(IDS, MASK)
        assert vectors.keys() == {"hidden.0"}
        vectors.clear()
    model(IDS, MASK)
    assert not vectors


def test_a_layer_that_the_teacher_does_not_have_is_named(tiny_models: Callable[[str], Path]) -> None:
    with pytest.raises(ValueError, match=r"cache_logits\.layers has 7\. Allowed: 0 to 2"):
        answers(build(tiny_models("bert")), ["values.7"])


def test_each_loss_has_its_weight_in_params() -> None:
    assert list(LossWeights.model_fields) == list(LOSSES)


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ({"embeddings": 1.0}, r"did not keep\. Add embeddings to cache_logits\.vectors\.$"),
        ({"value_relations": 1.0}, "needs the teacher's values, which cache_logits did not keep"),
    ],
)
def test_losses_that_cannot_be_are_refused(
    tiny_models: Callable[[str], Path], losses: dict[str, float], said: str
) -> None:
    kept = answers(build(tiny_models("bert")), ["hidden.0"])
    with (
        pytest.raises(ValueError, match=said),
        distillation_loss(losses, temperature=1.0, task=LEARNING, answers=kept, teacher_layers=[0]),
    ):
        pass


def test_vectors_without_layers_and_layers_without_vectors_are_refused() -> None:
    values: dict[str, Any] = {"augmented_copies": 0, "hidden_share": 0.1, "likeliest": 1, "sequence_beams": 0}
    assert CacheLogitsParams(**values, vectors=["embeddings"], layers=[]).vectors == ["embeddings"]
    with pytest.raises(ValueError, match="layers does not say which"):
        CacheLogitsParams(**values, vectors=["values"], layers=[])
    with pytest.raises(ValueError, match="vectors does not say what"):
        CacheLogitsParams(**values, vectors=["embeddings"], layers=[1])


def test_tokens_are_hidden_by_chance_and_special_ones_never() -> None:
    rows = [np.array([2, *range(10, 210), 3], dtype=np.int32), np.array([2, 3], dtype=np.int32)]
    how: dict[str, Any] = {"share": 0.2, "hide_as": 1, "special": [2, 3]}
    first, second, third, fourth = with_tokens_hidden(rows, copies=2, seed=5, **how)
    assert [copy.tolist() for copy in (third, fourth)] == [[2, 3], [2, 3]]
    for copy in (first, second):
        assert (copy[0], copy[-1]) == (2, 3)
        hidden = copy != rows[0]
        assert 20 < hidden.sum() < 60
        assert (copy[hidden] == 1).all()
    assert first.tolist() != second.tolist()
    again = list(with_tokens_hidden(rows, copies=2, seed=5, **how))
    assert [copy.tolist() for copy in again[:2]] == [first.tolist(), second.tolist()]
    assert next(with_tokens_hidden(rows, copies=1, seed=6, **how)).tolist() != first.tolist()


def test_rows_without_labels_stand_after_the_others_and_lose_nothing_by_labels() -> None:
    rows = ROWS.and_unlabelled(np.array([2, 50, 3, 2, 3], dtype=np.int32), np.array([3, 2]))
    assert len(rows) == 5
    assert rows[3]["input_ids"].tolist() == [2, 50, 3]
    assert rows[1]["input_ids"].tolist() == ROWS[1]["input_ids"].tolist()
    assert rows.targets.tolist() == [0, 1, 2, -1, -1]
    student = torch.tensor([[1.0, 0.0], [5.0, -5.0]])
    labels = LOSSES["labels"].loss
    one = pair({}, {}, [[1.0], [1.0]], student_logits=student, targets=torch.tensor([0, -1]))
    expected = math.log(1 + math.exp(-1.0)) / 2  # the mean over both rows
    assert labels(one).item() == pytest.approx(expected)
    none = pair({}, {}, [[1.0], [1.0]], student_logits=student, targets=torch.tensor([-1, -1]))
    assert labels(none).item() == 0.0


def test_rows_are_renumbered_by_the_tokens_kept() -> None:
    kept = [2, 3, 50, 51, 52, 53]
    assert ROWS.renumbered(kept)[0]["input_ids"].tolist() == [0, 2, 3, 4, 1]


@pytest.mark.parametrize("name", ["hidden", "value_relations"])
def test_the_batches_of_a_step_add_up_whatever_the_lengths_of_their_rows(name: str) -> None:
    torch.manual_seed(1)
    kind = "hidden" if name == "hidden" else "values"
    student, teacher = torch.randn(2, 8, 4), torch.randn(2, 8, 4)
    mask = [[1.0] * 2 + [0.0] * 6, [1.0] * 8]

    def loss(rows: slice) -> float:
        own, theirs = ({f"{kind}.0": of[rows]} for of in (student, teacher))
        return LOSSES[name].loss(pair(own, theirs, mask[rows], heads=2)).item()

    assert loss(slice(0, 2)) == pytest.approx((loss(slice(0, 1)) + loss(slice(1, 2))) / 2)
