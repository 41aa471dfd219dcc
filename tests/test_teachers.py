"""Several teachers: each is the one that its seed alone gives, and students hear the mean of their logits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import tiny_params
from safetensors.torch import load_file
from test_distilled_vectors import ROWS, TRAIN_ROWS
from test_tokenize import contents, write_clean
from torch.nn.functional import cross_entropy

from stages.cache_logits import cache_logits
from stages.core.model_folder import verify
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.finetune import finetune
from stages.tokenize import tokenize
from stages.training import loop
from stages.training.loop import Learner


def changed(params: Params, **finetuning: Any) -> Params:
    return params.model_copy(update={"finetune": params.finetune.model_copy(update=finetuning)})


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, tiny_models: Callable[[str], Path]) -> tuple[Params, Paths]:
    """A project with two teachers, of the seeds 20 and 21, and what cache_logits made of them."""
    paths = write_clean(tmp_path_factory.mktemp("teachers") / "project", ROWS)
    tiny = tiny_models("bert")
    params = tiny_params(
        paths, tiny, finetune__teachers=2, finetune__epochs=1, finetune__batch_size=12,
        finetune__precision="fp32", finetune__encoder_learning_rate=3.0e-3, distill__teacher_layers=[0, 2],
    )  # fmt: skip
    tokenize(params, paths)
    finetune(params, paths)
    cache_logits(params, paths)
    return params, paths


def alone(params: Params, paths: Paths, folder: Path, seed: int) -> Paths:
    """The same project with one teacher of that seed, and its logits."""
    other = copied(paths, folder)
    one = changed(params, teachers=1).model_copy(update={"seed": seed})
    finetune(one, other)
    cache_logits(one, other)
    return other


def test_each_teacher_is_the_one_that_its_seed_alone_gives_and_the_first_is_the_teacher(
    taught: tuple[Params, Paths], tmp_path: Path
) -> None:
    params, paths = taught
    first, second = (alone(params, paths, tmp_path / str(seed), seed) for seed in (params.seed, params.seed + 1))
    assert contents(paths.model("teacher")) == contents(first.model("teacher"))
    assert paths.training("teacher").read_bytes() == first.training("teacher").read_bytes()
    assert contents(paths.co_teachers / "21") == contents(second.model("teacher")) != contents(first.model("teacher"))
    verify(paths.co_teachers / "21")
    reports = json.loads((paths.co_teachers / "reports.json").read_text())
    assert reports == {"21": json.loads(second.training("teacher").read_text())}
    assert contents(first.co_teachers) == {"reports.json": b"{}\n"}
    logits = [load_file(one.logits)["logits"].numpy() for one in (paths, first, second)]
    assert logits[0].shape == (TRAIN_ROWS, 3)
    np.testing.assert_allclose(logits[0], (logits[1] + logits[2]) / 2, atol=1e-5)
    assert np.abs(logits[1] - logits[2]).max() > 1e-3


def copied(paths: Paths, folder: Path) -> Paths:
    """What `finetune` reads of the project, elsewhere."""
    for name in (paths.tokens, paths.tokenizer):
        shutil.copytree(name, folder / name.relative_to(paths.root))
    return Paths(folder)


def test_a_finished_teacher_is_kept_where_the_next_is_cut_off(
    taught: tuple[Params, Paths], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    params, paths = taught
    cut_off = copied(paths, tmp_path)
    seeds: list[int] = []
    train = loop.train

    def cut(*arguments: Any, seed: int, **more: Any) -> Any:
        seeds.append(seed)
        if len(seeds) == 2:
            raise ValueError("cut off")
        return train(*arguments, seed=seed, **more)

    monkeypatch.setattr("stages.training.teaching.train", cut)
    with pytest.raises(ValueError, match="cut off"):
        finetune(params, cut_off)
    caplog.set_level("INFO", logger="winnow")
    finetune(params, cut_off)
    assert seeds == [20, 21, 20, 21]
    assert caplog.text.count("goes on after step") == 1
    assert caplog.text.count("epoch 1/1: loss") == 1, "the first was not trained again"
    assert contents(cut_off.model("teacher")) == contents(paths.model("teacher"))
    assert contents(cut_off.co_teachers) == contents(paths.co_teachers)
    assert list(cut_off.checkpoints("teacher").glob("*/step-*")) == []


def test_the_loss_is_smoothed_and_weighted_as_params_say(
    taught: tuple[Params, Paths], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, paths = taught
    logits, labels = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]]), torch.tensor([0, 2])
    found: list[torch.Tensor] = []

    def caught(_model: Any, _data: Any, learner: Learner, *_: Any, **__: Any) -> None:
        found.append(learner.loss(logits, {"labels": labels}, np.arange(2)))
        raise ValueError("no further")

    monkeypatch.setattr("stages.training.teaching.train", caught)
    monkeypatch.setattr("stages.finetune.balanced_weights", lambda *_: torch.tensor([3.0, 1.0, 0.5]))
    for changes in ({}, {"label_smoothing": 0.2}, {"class_weights": "balanced"}):
        with pytest.raises(ValueError, match="no further"):
            finetune(changed(params, teachers=1, **changes), copied(paths, tmp_path / str(len(found))))
    plain, smoothed, weighted = found
    assert plain == pytest.approx(cross_entropy(logits, labels).item())
    assert smoothed == pytest.approx(cross_entropy(logits, labels, label_smoothing=0.2).item())
    each = cross_entropy(logits, labels, reduction="none")
    assert weighted == pytest.approx((3.0 * each[0] + 0.5 * each[1]).item() / 2)


def test_what_the_teachers_score_together_stands_beside_what_each_scores(taught: tuple[Params, Paths]) -> None:
    _, paths = taught
    report = json.loads(paths.cache_report.read_text())
    assert report["validation"].keys() == {"accuracy", "macro_f1"}
    best = json.loads(paths.training("teacher").read_text())["validation_macro_f1"]
    assert report["validation_of_each"][0]["macro_f1"] == pytest.approx(best, abs=1e-6)
    assert len(report["validation_of_each"]) == 2
