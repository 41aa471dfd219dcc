"""Training of models that write: a step's loss is the mean over its targets, however it is taken apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file
from test_engine import ACCUMULATED, ONE, TOLERANCE, UNCLIPPED, Lab, furthest, report, weights
from training_run import VOCABULARY

from stages.core.contracts import BEGINS, NO_LABEL

Runs = dict[str, dict[str, Any]]  # by name the options of training_run.py
KINDS = ("gpt2", "llama", "t5")
ALONE: Runs = {
    "plain": {"plain": True, "changes": ONE},
    "plain gradients": {"plain": True, "gradients": True, "changes": UNCLIPPED},
    "whole": {"plain": True, "changes": {"epochs": 1, "batch_size": 20}},
    "gradients": {"gradients": True, "changes": UNCLIPPED},
    "engine": {"changes": ONE},
    "parts": {"changes": {**ACCUMULATED, "accumulation_steps": 2}},
    "straight": {"dropout": 0.3, "changes": {"epochs": 2}},
}
TWO: Runs = {
    "two gradients": {"gradients": True, "changes": UNCLIPPED},
    "two parts": {"changes": {**ACCUMULATED, "accumulation_steps": 2}},
    "two sharded": {"changes": {**ONE, "zero_stage": 2}},
}


def write_rows(root: Path, kind: str) -> None:
    """Sources of letters, and as targets some of these in their order: of very unequal lengths, and of some none."""
    from datasets import Dataset

    random = np.random.default_rng(0)
    for split, count in (("train", 70), ("validation", 20)):
        columns: dict[str, list[Any]] = {"row_id": [], "input_ids": [], "labels": [], BEGINS: []}
        for number in range(count):
            source = random.integers(4, VOCABULARY, random.integers(2, 9)).tolist()
            target = [*source[: random.integers(1, 9)], 1]
            before = [*source, 1] if kind == "t5" else [2, *source, 3]
            inputs = [0, *target[:-1]] if kind == "t5" else target[:-1]
            unlearned = len(before) if kind == "t5" else len(before) - 1
            if number % 11 == 0:
                target = [NO_LABEL] * len(target)
            columns["row_id"].append(f"{split}-{number}")
            columns["input_ids"].append(before + inputs)
            columns["labels"].append([NO_LABEL] * unlearned + target)
            columns[BEGINS].append(len(before))
        if kind != "t5":
            del columns[BEGINS]
        Dataset.from_dict(columns).save_to_disk(str(root / "artifacts/data/tokens" / split))
    described = {"space": {}, "pad_id": 0, "max_tokens": 24, "writing": {"end": 1}}
    (root / "artifacts/data/tokens/space.json").write_text(json.dumps(described))


class WritingLab(Lab):
    """A folder with rows for models of one kind."""

    def __init__(self, home: Path, kind: str) -> None:
        self.home, self.model, self.kind, self.said = home, home, kind, ""
        write_rows(home, kind)

    def run_all(self, runs: dict[str, dict[str, Any]], **more: Any) -> Path:
        return super().run_all({name: {"writes": self.kind, **options} for name, options in runs.items()}, **more)


def lab_fixtures(kinds: Sequence[str], of_one: Runs, of_two: Runs) -> tuple[Any, Any, Any]:
    """The fixtures `lab`, of each kind; `alone`, the runs `of_one` in it; and `two`, those of two processes."""

    @pytest.fixture(scope="module", params=kinds)
    def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> WritingLab:
        return WritingLab(tmp_path_factory.mktemp("lab"), request.param)

    @pytest.fixture(scope="module")
    def alone(lab: WritingLab) -> Path:
        return lab.run_all(of_one)

    @pytest.fixture(scope="module")
    def two(lab: WritingLab) -> Path:
        return lab.run_all(of_two, processes=2)

    return lab, alone, two


lab, alone, two = lab_fixtures(KINDS, ALONE, TWO)


def test_gradients_are_those_of_the_mean_over_all_targets(alone: Path):
    expected = load_file(alone / "plain gradients/gradients.safetensors")
    assert max(tensor.abs().max().item() for tensor in expected.values()) > 1e-3
    difference, name = furthest(load_file(alone / "gradients/gradients.safetensors"), expected)
    assert difference < 1e-6, name


def test_two_processes_have_these_gradients_too(alone: Path, two: Path):
    expected = load_file(alone / "plain gradients/gradients.safetensors")
    difference, name = furthest(load_file(two / "two gradients/gradients.safetensors"), expected)
    assert difference < 1e-6, name


def test_weights_and_losses_are_those_of_a_plain_torch_loop(alone: Path, two: Path):
    for out in (alone / "engine", two / "two sharded"):
        assert furthest(weights(out), weights(alone / "plain"))[0] < TOLERANCE
        losses = report(alone / "plain")["losses"]
        mean = sum(loss * targets for loss, targets in losses) / sum(targets for _, targets in losses)
        assert report(out)["history"][0]["train_loss"] == pytest.approx(mean, abs=1e-5)


def test_batches_with_unequally_many_targets_add_up_to_one_of_their_size(alone: Path, two: Path):
    for out in (alone / "parts", two / "two parts"):
        assert furthest(weights(out), weights(alone / "whole"))[0] < TOLERANCE


def test_the_likelihood_of_validation_targets_grows(alone: Path):
    history = report(alone / "straight")["history"]
    assert history[0]["chrf"] < history[-1]["chrf"] < 0


def test_a_run_killed_with_9_goes_on_to_the_same_bytes(lab: WritingLab, alone: Path, tmp_path: Path):
    options: dict[str, Any] = {**ALONE["straight"], "checkpoints": str(tmp_path / "kept")}
    lab.run("cut", **options, kill_at=7, expect=-9)
    out = lab.run("cut", **options)
    assert "goes on after step" in lab.said
    assert (out / "weights.safetensors").read_bytes() == (alone / "straight/weights.safetensors").read_bytes()
    assert report(out) == report(alone / "straight")
