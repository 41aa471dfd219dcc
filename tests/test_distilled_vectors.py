"""From the teacher's inner vectors to a student that has them: cache_logits and distill, with augmented copies too."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import REPOSITORY, TOPICS, edit_params, run, tiny_params
from safetensors.torch import load_file
from test_models import IDS, MASK, build
from test_tokenize import write_clean

from stages.backends.runners import open_runner
from stages.cache_logits import cache_logits
from stages.core.files import write_json
from stages.core.model_folder import seal
from stages.core.params.file import Params, load_params
from stages.core.paths import Paths
from stages.distill import distill
from stages.models.encoder import FAMILY
from stages.prune import prune
from stages.quantize import quantize
from stages.tokenize import tokenize
from stages.training import loop

COPIES = 1
ROWS = [
    (f"{split}-{label}-{at}", " ".join(words[at : at + 3]), label, split)
    for split, count in (("train", 8), ("validation", 3), ("test", 1))
    for label, words in TOPICS.items()
    for at in range(count)
]
TRAIN_ROWS = sum(row[3] == "train" for row in ROWS)


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory, tiny_models: Callable[[str], Path]) -> tuple[Params, Paths]:
    """A project with a random teacher, and its logits and vectors of the training rows and of their copies."""
    paths = write_clean(tmp_path_factory.mktemp("vectors") / "project", ROWS)
    tiny = tiny_models("bert")
    params = tiny_params(
        paths, tiny, cache_logits__augmented_copies=COPIES, cache_logits__layers=[2],
        cache_logits__vectors=["embeddings", "hidden", "queries", "keys", "values"],
        distill__losses={"logits": 0.4, "labels": 0.0, "hidden": 1.0, "embeddings": 0.1, "attention_relations": 0.1,
                         "value_relations": 0.1},
        distill__teacher_layers=[0, 2], distill__epochs=4, distill__batch_size=12, distill__head_learning_rate=1.0e-3,
        distill__encoder_learning_rate=2.0e-3, distill__precision="fp32", distill__freeze_embeddings=False,
        distill__patience=9,
    )  # fmt: skip
    tokenize(params, paths)
    write_teacher(params, paths, tiny)
    cache_logits(params, paths)
    return params, paths


def write_teacher(params: Params, paths: Paths, tiny: Path) -> None:
    """A random teacher of TOPICS, whose layers are so steep that they do something."""
    teacher = paths.model("teacher")
    model = build(tiny, head_dropout=0.0)
    with torch.no_grad():
        for module in model.encoder.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.mul_(8)
    FAMILY.write(model, teacher)
    shutil.copyfile(tiny / "tokenizer.json", teacher / "tokenizer.json")
    seal(
        teacher, backend="pytorch", task=params.task.name, space={"labels": sorted(TOPICS)}, family="encoder",
        max_tokens=12, pad_id=0, pretrained="tiny",
    )  # fmt: skip
    write_json(paths.training("teacher"), {"precision": "fp32"})


def distance(student: Any, teacher: Any) -> float:
    """The mean square between what the last layers of the two put out for the same tokens."""
    with torch.inference_mode():
        one, other = (m.encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state for m in (student, teacher))
    return float((one - other)[MASK.bool()].square().mean())


def test_the_cache_holds_logits_and_vectors_of_rows_and_copies(cached: tuple[Params, Paths]) -> None:
    _, paths = cached
    tensors = load_file(paths.logits)
    assert tensors["logits"].shape == (TRAIN_ROWS * (1 + COPIES), 3)
    assert tensors["lengths"].shape == (TRAIN_ROWS * COPIES,)
    tokens = 2 * int(tensors["lengths"].sum())  # a copy is as long as its row
    vectors = {
        name: tuple(tensor.shape) for name, tensor in tensors.items() if name not in ("logits", "lengths", "input_ids")
    }
    assert vectors == dict.fromkeys(("embeddings", "hidden.2", "queries.2", "keys.2", "values.2"), (tokens, 32))
    assert json.loads(paths.cache_report.read_text())["rows"] == TRAIN_ROWS * (1 + COPIES)


@pytest.fixture(scope="module")
def student(cached: tuple[Params, Paths]) -> torch.nn.Module:
    """What one process learned."""
    params, paths = cached
    distill(params, paths)
    return FAMILY.open(paths.model("student"))


def test_a_student_comes_nearer_to_its_teachers_vectors(cached: tuple[Params, Paths], student: torch.nn.Module) -> None:
    teacher = FAMILY.open(cached[1].model("teacher"))
    before = distance(FAMILY.student(teacher, [0, 2]), teacher)
    assert before > 0.01
    assert distance(student, teacher) < 0.7 * before


def test_a_narrower_student_is_distilled_pruned_and_quantized(cached: tuple[Params, Paths], tmp_path: Path) -> None:
    root = tmp_path / "narrow"
    shutil.copytree(cached[1].root, root)
    relations = {"attention_relations": 0.2, "value_relations": 0.2, "hidden": 0.0, "embeddings": 0.0}
    edit_params(
        root, distill__hidden_size=24, distill__losses={"logits": 0.5, "labels": 0.1, **relations}, distill__epochs=1,
        prune__epochs=1, prune__common_words=0, prune__heads_kept=0.7, prune__feed_forward_kept=0.5,
        quantize__temperature_scaling=False,
    )  # fmt: skip
    params, paths = load_params(root / "params.yaml"), Paths(root)
    for stage in (distill, prune, quantize):
        stage(params, paths)
    student, pruned = (FAMILY.open(paths.model(name)) for name in ("student", "pruned"))
    assert [len(heads) for heads in FAMILY.units(student)["heads"]] == [3, 3]
    assert [len(heads) for heads in FAMILY.units(pruned)["heads"]] == [2, 2]
    assert pruned.encoder.get_input_embeddings().weight.shape[1] == 24
    texts = [" ".join(words[:3]) for words in TOPICS.values()]
    exact, int8 = (open_runner(paths.model(name), threads=1).predict(texts).values for name in ("pruned", "quantized"))
    assert exact.shape == (3, 3)
    assert abs(int8 - exact).max() < 0.01
    assert "layers\n0, 2 with a width of 24, pruned to" in (paths.model("quantized") / "README.md").read_text()


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(
    cached: tuple[Params, Paths], student: torch.nn.Module, tmp_path: Path
) -> None:
    root = tmp_path / "two"
    shutil.copytree(cached[1].root, root)
    run(root, "python", "-m", "stages.distill", WINNOW_PROCESSES="2", PYTHONPATH=str(REPOSITORY))
    two = FAMILY.open(Paths(root).model("student")).state_dict()
    assert all(torch.allclose(weights, two[name], atol=1e-4) for name, weights in student.state_dict().items())


def test_a_run_that_ended_early_goes_on_to_the_same_student(
    cached: tuple[Params, Paths], student: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, given = cached
    paths = Paths(tmp_path / "project")
    shutil.copytree(given.root, paths.root)
    monkeypatch.setenv("WINNOW_CHECKPOINT_SECONDS", "0.000001")
    saved, save = [], loop._save

    def cut_off(*job: Any) -> None:
        save(*job)
        saved.append(job)
        if len(saved) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_save", cut_off)
    with pytest.raises(KeyboardInterrupt):
        distill(params, paths)
    monkeypatch.setattr(loop, "_save", save)
    distill(params, paths)
    names = ("model.safetensors", "config.json")
    same = [(paths.model("student") / name).read_bytes() == (given.model("student") / name).read_bytes()
            for name in names]  # fmt: skip
    assert same == [True, True]
