"""Rows packed into blocks: each token's loss and all gradients are those of its row alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from safetensors.torch import load_file
from test_engine import ACCUMULATED, ONE, TOLERANCE, UNCLIPPED, furthest, report, weights
from test_training import params
from test_writing_engine import WritingLab, lab_fixtures
from torch import nn
from torch.nn import functional
from training_run import VOCABULARY, writer

from flows.cli.mistakes import mistakes
from stages.compression.refusals import faults_of_folder, faults_of_student
from stages.core.contracts import NO_LABEL, inputs_of
from stages.core.params.file import Params, load_params
from stages.core.paths import Paths
from stages.tasks.contract import Likeliest
from stages.tasks.text_generation.learning import LEARNING
from stages.training import loop
from stages.training.batches import batch_of
from stages.training.distillation import TeacherAnswers, distillation_loss
from stages.training.rows import TokenRows, TrainingData, open_training_data
from stages.training.samplers import packed_into, shuffled_batches

KINDS = ("gpt2", "llama")
PACKED: dict[str, Any] = {**UNCLIPPED, "packed": True}
ALONE: dict[str, dict[str, Any]] = {
    # A plain loop over the same steps, which packs nothing.
    "plain": {"plain": True, "changes": {**ONE, "packed": True}},
    "plain gradients": {"plain": True, "gradients": True, "changes": PACKED},
    "whole": {"plain": True, "changes": {"epochs": 1, "batch_size": 20, "packed": True}},
    "gradients": {"gradients": True, "changes": PACKED},
    "engine": {"changes": {**ONE, "packed": True}},
    "parts": {"changes": {**ACCUMULATED, "accumulation_steps": 2, "packed": True}},
    "straight": {"dropout": 0.3, "changes": {"epochs": 2, "packed": True}},
}
TWO: dict[str, dict[str, Any]] = {
    "two gradients": {"gradients": True, "changes": PACKED},
    "two parts": {"changes": {**ACCUMULATED, "accumulation_steps": 2, "packed": True}},
}


lab, alone, two = lab_fixtures(KINDS, ALONE, TWO)


def data_of(texts: Sequence[Sequence[int]], max_tokens: int) -> TrainingData:
    """Texts of which each token but the last is read, and each but the first learned; of the third nothing is."""
    inputs, targets = [list(text[:-1]) for text in texts], [list(text[1:]) for text in texts]
    targets[2] = [NO_LABEL] * len(targets[2])
    offsets = np.cumsum([0, *map(len, inputs)])
    rows = TokenRows(
        [f"row-{number}" for number in range(len(texts))], np.concatenate(targets), offsets, np.concatenate(inputs),
        per_token=True,
    )  # fmt: skip
    return TrainingData(rows, rows, {}, 0, max_tokens)


@pytest.fixture
def data() -> TrainingData:
    random = np.random.default_rng(2)
    texts = [random.integers(1, VOCABULARY, length).tolist() for length in (9, 3, 5, 16, 2, 12, 6, 3)]
    return data_of(texts, max_tokens=16)


def model_of(kind: str) -> nn.Module:
    torch.manual_seed(0)
    return writer(kind, {})[0].train()


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    return found


def test_blocks_hold_each_row_once_and_are_filled_alike():
    lengths = np.array([16, 3, 9, 7, 2, 11, 4, 12])  # 64 tokens
    blocks = packed_into(lengths, size=16)
    assert [block.tolist() for block in blocks] == [[0], [1, 4, 7], [5, 6], [2, 3]]
    assert [int(lengths[block].sum()) for block in blocks] == [16, 17, 15, 16]


def test_a_block_is_longer_than_its_size_by_less_than_a_row():
    random = np.random.default_rng(7)
    for _ in range(200):
        lengths = random.integers(1, 33, random.integers(1, 20))
        filled = [lengths[block].sum() for block in packed_into(lengths, size=32)]
        assert len(filled) <= -(-lengths.sum() // 32)
        assert max(filled) < 32 + lengths.max()
    assert [block.tolist() for block in packed_into(np.array([5]), size=32)] == [[0]]


def test_steps_of_packed_rows_are_of_any_length_and_the_same_each_time(data: TrainingData):
    own = params(batch_size=2, packed=True)
    steps = loop.steps_of(data, own, seed=5, epoch=1)
    assert sorted(np.concatenate(steps).tolist()) == list(range(8))
    again, other = (shuffled_batches(8, batch_size=2, seed=5, epoch=epoch) for epoch in (1, 2))
    assert [step.tolist() for step in steps] == [step.tolist() for step in again]
    assert [step.tolist() for step in steps] != [step.tolist() for step in other]


@pytest.mark.parametrize("kind", KINDS)
def test_each_token_has_the_loss_that_it_has_in_its_row_alone(kind: str, data: TrainingData):
    model, rows = model_of(kind), np.arange(8)
    numbers, batch = batch_of(data, rows, packed=True, n_targets=data.train.n_targets)
    assert sorted(numbers.tolist()) == rows.tolist()
    assert numbers.tolist() != rows.tolist(), "the order is that of the blocks"
    assert len(batch["input_ids"]) < 8, "some blocks hold several rows"
    losses = functional.cross_entropy(
        model(*inputs_of(batch)).transpose(1, 2), batch["labels"], ignore_index=NO_LABEL, reduction="none"
    )
    found = losses[batch["attention_mask"] > 0].tolist()
    expected: list[float] = []
    for number in numbers:
        _, alone = batch_of(data, np.array([number]), packed=False, n_targets=None)
        logits = model(*inputs_of(alone))[0]
        expected += functional.cross_entropy(
            logits, alone["labels"][0], ignore_index=NO_LABEL, reduction="none"
        ).tolist()
    assert found == pytest.approx(expected, abs=1e-5)
    assert sum(batch["weights"].tolist()) == data.train.n_targets.sum()


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_learns_of_its_teacher_what_it_learns_of_rows_alone(kind: str, data: TrainingData):
    model, rows = model_of(kind), np.arange(8)
    torch.manual_seed(1)
    places = int(data.train.n_targets.sum())
    likeliest, tokens = functional.log_softmax(torch.randn(places, VOCABULARY), -1).topk(4, dim=-1)
    rest = torch.log1p(-likeliest.exp().sum(-1))
    answers = TeacherAnswers(Likeliest(tokens.int(), likeliest, rest), {}, data.train)
    losses, found = [], []
    with distillation_loss({"logits": 0.9, "labels": 0.1}, temperature=2.0, task=LEARNING, answers=answers) as loss:
        for packed in (False, True):
            numbers, batch = batch_of(data, rows, packed=packed, n_targets=data.train.n_targets)
            one = loss(model(*inputs_of(batch)), batch, numbers)
            one.backward()
            losses.append(one.item())
            found.append(gradients(model))
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)
    difference, name = furthest(*found)
    assert max(tensor.abs().max().item() for tensor in found[0].values()) > 1e-3
    assert difference < 1e-6, name


def test_gradients_are_those_of_a_plain_loop_that_packs_nothing(alone: Path, two: Path):
    expected = load_file(alone / "plain gradients/gradients.safetensors")
    assert max(tensor.abs().max().item() for tensor in expected.values()) > 1e-3
    for found in (alone / "gradients", two / "two gradients"):
        difference, name = furthest(load_file(found / "gradients.safetensors"), expected)
        assert difference < 1e-6, name


def test_weights_are_those_of_a_plain_loop_that_packs_nothing(alone: Path):
    assert furthest(weights(alone / "engine"), weights(alone / "plain"))[0] < TOLERANCE
    losses = report(alone / "plain")["losses"]
    mean = sum(loss * targets for loss, targets in losses) / sum(targets for _, targets in losses)
    assert report(alone / "engine")["history"][0]["train_loss"] == pytest.approx(mean, abs=1e-5)


def test_packed_batches_add_up_to_one_of_their_size_on_any_number_of_processes(alone: Path, two: Path):
    for out in (alone / "parts", two / "two parts"):
        assert furthest(weights(out), weights(alone / "whole"))[0] < TOLERANCE


def test_rows_of_the_run_were_packed(lab: WritingLab):
    data = open_training_data(Paths(lab.home))
    step = loop.steps_of(data, params(batch_size=8, packed=True), seed=5, epoch=0)[0]
    _, batch = batch_of(data, step, packed=True, n_targets=None)
    assert batch["attention_mask"].max() > 1


def test_a_run_of_packed_rows_killed_with_9_goes_on_to_the_same_bytes(lab: WritingLab, alone: Path, tmp_path: Path):
    options: dict[str, Any] = {**ALONE["straight"], "checkpoints": str(tmp_path / "kept")}
    lab.run("cut", **options, kill_at=7, expect=-9)
    out = lab.run("cut", **options)
    assert "goes on after step" in lab.said
    assert (out / "weights.safetensors").read_bytes() == (alone / "straight/weights.safetensors").read_bytes()
    assert report(out) == report(alone / "straight")


def changed(**sections: dict[str, Any]) -> Params:
    values = load_params(REPOSITORY / "params.yaml")
    update = {name: getattr(values, name).model_copy(update=own) for name, own in sections.items()}
    return values.model_copy(update=update)


def test_families_that_would_read_packed_rows_as_one_are_refused():
    wrong = changed(finetune={"packed": True}, distill={"packed": True, "family": "bilstm"})
    lines = [line for line in mistakes(REPOSITORY, wrong) if "packed" in line]
    assert [line.partition(",")[0] for line in lines] == [
        "params.yaml: finetune.packed is true", "params.yaml: distill.packed is true"
    ]  # fmt: skip
    assert "model.family 'encoder', whose models would read packed rows as one. Allowed for it: false." in lines[0]
    assert "Families that keep them apart: decoder." in lines[0]


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"distill": {"losses": {"value_relations": 0.4}}}, "cache_logits.vectors []. Needed for it: values."),
        (
            {"distill": {"losses": {"value_relations": 0.4}}, "cache_logits": {"vectors": ["values"], "layers": [3]}},
            "cache_logits.layers [3] has none of distill.teacher_layers [0, 5], as it needs.",
        ),
        ({"distill": {"freeze_layers": 5}}, "distill.freeze_layers is 5. Allowed: 0 to 2, the layers of the student"),
        (
            {"distill": {"compile": True}, "cache_logits": {"vectors": ["values"], "layers": [5]}},
            "distill.compile is true. Allowed with losses on inner vectors: false.",
        ),
        (
            {"distill": {"family": "bilstm", "losses": {"hidden": 1.0}}},
            "distill.losses.hidden is 1, and distill.family 'bilstm', whose inner vectors correspond to none",
        ),
    ],
)
def test_what_distill_would_refuse_is_refused_before_a_teacher_is_trained(sections: dict[str, Any], said: str):
    losses = load_params(REPOSITORY / "params.yaml").distill.losses
    of_distill = sections["distill"]
    if "losses" in of_distill:
        of_distill = {**of_distill, "losses": losses.model_copy(update=of_distill["losses"])}
    wrong = changed(**{**sections, "distill": of_distill})
    assert any(said in line for line in mistakes(REPOSITORY, wrong))
    assert any(said in line for line in faults_of_student(wrong))


def test_of_students_with_two_stacks_both_may_be_frozen():
    for family in ("encoder_decoder", "two_towers"):
        both = changed(distill={"family": family, "freeze_layers": 3})
        assert "freeze_layers" not in "\n".join(faults_of_student(both))


def test_layers_and_tokens_that_the_teacher_has_not_are_told_of_its_folder(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "num_hidden_layers": 6}))
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": {"a": 0}}}))
    wrong = changed(cache_logits={"vectors": ["values"], "layers": [12], "augmented_copies": 1})
    told = "\n".join(faults_of_folder(tmp_path, wrong))
    assert "cache_logits.layers has 12. Allowed: 0 to 5, as the teacher has 6 layers." in told
    assert "augmented_copies is 1. Allowed: 0, as the tokenizer of this model has no token to hide others" in told
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "WordPiece", "vocab": {"[UNK]": 0}}}))
    assert "augmented_copies" not in "\n".join(faults_of_folder(tmp_path, wrong))


def test_vectors_of_the_teacher_are_compared_row_by_row_and_so_not_packed():
    packed = {"packed": True, "family": "decoder"}
    assert not list(faults_of_student(changed(model={"family": "decoder"}, distill=packed)))
    vectors = {"vectors": ["hidden"], "layers": [0]}
    wrong = changed(model={"family": "decoder"}, distill=packed, cache_logits=vectors)
    assert [line for line in faults_of_student(wrong) if "distill.packed is true. Allowed with cache_logits" in line]
