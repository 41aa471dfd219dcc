"""Samplers, losses, schedules, and the loop on a real DeepSpeed engine with a tiny model."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import warm_python
from conftest import REPOSITORY, write_tiny_model
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from stages.core.contracts import NO_LABEL
from stages.core.params.file import load_params
from stages.core.params.training import FinetuneParams
from stages.tasks.shared.distillation import kd_loss
from stages.training.curves import open_curves
from stages.training.samplers import length_bucketed_batches, length_sorted_batches

TOLERANCE = 1e-4  # of any one weight, in float32: that of test_engine.py
LENGTHS = np.random.default_rng(3).integers(3, 60, size=500)


def params(**changes: Any) -> FinetuneParams:
    values: dict[str, Any] = dict(  # noqa: C408
        epochs=2, batch_size=16, accumulation_steps=1, encoder_learning_rate=3e-3, head_learning_rate=3e-3,
        weight_decay=0.01, schedule="linear", warmup_ratio=0.1, layer_decay=1.0, scaled_rates=False,
        max_gradient_norm=1.0,
        method="supervised",
        contrastive={"pairs_per_row": 2, "temperature": 0.05, "inverse_regularizations": [0.1]}, descriptions={},
        freeze_embeddings=False, teachers=1, freeze_layers=0, label_smoothing=0.0, class_weights="none", patience=2,
        select_by="best", precision="fp32", zero_stage=0, offload="none", activation_checkpointing=False,
        compile=False, packed=False, lora=None,
    )  # fmt: skip
    return FinetuneParams(**{**values, **changes})


def test_bucketed_batches_hold_every_row_once() -> None:
    batches = length_bucketed_batches(LENGTHS, batch_size=16, seed=1, epoch=0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    assert max(map(len, batches)) == 16


def test_bucketed_batches_waste_little_on_padding() -> None:
    def padded(batches: list[np.ndarray]) -> int:
        return sum(len(rows) * LENGTHS[rows].max() for rows in batches)

    order = np.random.default_rng(0).permutation(500)
    at_random = [order[i : i + 16] for i in range(0, 500, 16)]
    bucketed = length_bucketed_batches(LENGTHS, batch_size=16, seed=1, epoch=0)
    assert padded(bucketed) < 1.1 * LENGTHS.sum() < padded(at_random)


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return np.concatenate(length_bucketed_batches(LENGTHS, batch_size=16, seed=seed, epoch=epoch)).tolist()

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_sorted_batches_start_with_the_longest() -> None:
    batches = length_sorted_batches(LENGTHS, batch_size=16)
    assert LENGTHS[batches[0]].min() >= LENGTHS[batches[1]].max()
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))


def test_kd_loss_is_zero_when_student_equals_teacher() -> None:
    logits = torch.randn(4, 3)
    assert kd_loss(logits, logits.clone(), temperature=2.0).tolist() == pytest.approx([0] * 4, abs=1e-6)


def test_kd_loss_of_a_hand_computed_pair() -> None:
    # p = (0.8, 0.2) and q = (0.5, 0.5) at temperature 1: KL = 0.8 ln 1.6 + 0.2 ln 0.4
    teacher, student = torch.tensor([[0.8, 0.2]]).log(), torch.tensor([[0.5, 0.5]]).log()
    expected = 0.8 * np.log(1.6) + 0.2 * np.log(0.4)
    assert kd_loss(student, teacher, temperature=1.0).item() == pytest.approx(expected, rel=1e-5)
    assert kd_loss(student * 3, teacher * 3, temperature=3.0).item() == pytest.approx(9 * expected, rel=1e-5)


def test_kd_loss_is_told_of_each_token_where_each_has_logits() -> None:
    teacher, student = torch.tensor([[0.8, 0.2], [0.5, 0.5]]).log(), torch.tensor([[0.5, 0.5], [0.5, 0.5]]).log()
    found = kd_loss(student[None], teacher[None], temperature=1.0)
    assert found.tolist() == [pytest.approx([0.8 * np.log(1.6) + 0.2 * np.log(0.4), 0.0], abs=1e-6)]


def test_kd_loss_refuses_shapes_that_differ() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) and teacher \(2, 4\)"):
        kd_loss(torch.zeros(2, 3), torch.zeros(2, 4), temperature=1.0)


def test_learning_rate_rises_and_falls_linearly() -> None:
    assert factors("linear") == [0.2, 0.8, 1.0, 0.5, 0.0]


def test_cosine_and_constant_schedules_have_the_same_warmup() -> None:
    assert factors("cosine") == [0.2, 0.8, 1.0, 0.5, 0.0]
    assert factors("cosine", 6, 10) == [0.854, 0.146], "slow at both ends, unlike a line"
    assert factors("constant") == [0.2, 0.8, 1.0, 1.0, 1.0]


def factors(schedule: Any, *steps: int) -> list[float]:
    from stages.training.schedules import factor

    return [round(factor(schedule, step, warmup_steps=4, total_steps=12), 3) for step in steps or (0, 3, 4, 8, 12)]


def layered() -> Any:
    from stages.core.contracts import Parts

    embeddings, layers = nn.Embedding(5, 3), [nn.Linear(3, 3), nn.Linear(3, 3)]
    encoder = nn.ModuleList([embeddings, *layers])
    return Parts(encoder=encoder, embeddings=embeddings, layers=layers, head=nn.Linear(3, 2))


def test_head_and_encoder_have_their_own_rates_and_vectors_no_decay() -> None:
    from stages.training.groups import parameter_groups

    values = params(encoder_learning_rate=1e-4, head_learning_rate=1e-2, weight_decay=0.5, freeze_embeddings=False)
    told = [
        (group["peak"], group["weight_decay"], [tuple(p.shape) for p in group["params"]])
        for group in parameter_groups(layered(), values)
    ]
    assert told == [
        (1e-4, 0.5, [(5, 3), (3, 3), (3, 3)]), (1e-4, 0.0, [(3,), (3,)]), (1e-2, 0.5, [(2, 3)]), (1e-2, 0.0, [(2,)])
    ]  # fmt: skip


def test_each_lower_layer_has_a_smaller_rate_and_the_embeddings_the_smallest() -> None:
    from stages.training.groups import parameter_groups

    parts = layered()
    groups = parameter_groups(parts, params(encoder_learning_rate=1.0, layer_decay=0.5, freeze_embeddings=False))
    rate = {id(parameter): group["peak"] for group in groups for parameter in group["params"]}
    assert [rate[id(module.weight)] for module in (*reversed(parts.layers), parts.embeddings)] == [1.0, 0.5, 0.25]


def test_what_is_above_the_layers_has_the_highest_rate_and_towers_stand_side_by_side() -> None:
    from stages.core.contracts import Parts
    from stages.training.groups import parameter_groups

    table, norm, towers = nn.Embedding(5, 3), nn.LayerNorm(3), [[nn.Linear(3, 3) for _ in range(2)] for _ in "ab"]
    tied = nn.Linear(3, 5, bias=False)
    tied.weight = table.weight
    layers = [layer for tower in towers for layer in tower]
    encoder = nn.ModuleList([table, *layers, norm, tied])
    values = params(encoder_learning_rate=1.0, layer_decay=0.5, freeze_embeddings=False)
    apart = [layers[:1], layers[1:]]
    cases = [([], [0.125, 0.25, 0.5, 1.0]), (towers, [0.5, 1.0, 0.5, 1.0]), (apart, [1.0, 0.25, 0.5, 1.0])]
    for beside, rates in cases:
        parts = Parts(encoder, table, layers, nn.Identity(), above=[norm, tied], beside=beside)
        rate = {id(p): group["peak"] for group in parameter_groups(parts, values) for p in group["params"]}
        assert [rate[id(layer.weight)] for layer in layers] == rates
        assert rate[id(norm.weight)] == 1.0
        assert rate[id(table.weight)] == rates[0] / 2  # of a table that makes the logits, too


def test_a_model_of_which_nothing_is_left_to_train_is_refused() -> None:
    from stages.training.engine import start_engine

    parts = dataclasses.replace(layered(), head=nn.Identity())
    with pytest.raises(ValueError, match=r"freeze_layers is 2.*nothing is left to train.*Allowed: 0 to 1"):
        start_engine(parts.encoder, parts, params(freeze_layers=2, freeze_embeddings=True), 1, 8)


def test_scaled_rates_go_by_the_first_values_of_each_weight() -> None:
    from stages.training.groups import SMALLEST_SCALE, parameter_groups, scale

    parts = layered()
    with torch.no_grad():
        parts.embeddings.weight.copy_(torch.tensor([2.0, -2.0, 2.0]).expand(5, 3))
        for layer in parts.layers:
            layer.weight.fill_(0.24)
            layer.bias.zero_()
        parts.head.weight.fill_(-1.0)
        parts.head.bias.fill_(1.0)
    values = params(
        scaled_rates=True, encoder_learning_rate=0.1, head_learning_rate=0.3, layer_decay=0.5, freeze_embeddings=False
    )
    groups = parameter_groups(parts, values)
    rate = {id(parameter): group["peak"] for group in groups for parameter in group["params"]}
    least = 2**-10  # of SMALLEST_SCALE, to the nearest half of a power of 2
    assert [rate[id(weight)] for weight in (parts.layers[1].weight, parts.layers[1].bias)] == [0.1 / 4, 0.1 * least]
    assert [rate[id(weight)] for weight in (parts.layers[0].weight, parts.embeddings.weight)] == [0.05 / 4, 0.025 * 2]
    assert [rate[id(weight)] for weight in (parts.head.weight, parts.head.bias)] == [0.3, 0.3]
    assert scale(torch.full((3,), 1e-9)) == scale(torch.tensor([SMALLEST_SCALE])) == least
    assert scale(torch.full((2, 2), 0.7)) == pytest.approx(2**-0.5)


def test_frozen_layers_are_in_no_group_and_more_than_there_are_is_refused() -> None:
    from stages.training.groups import freeze, parameter_groups

    parts = layered()
    values = params(freeze_layers=1, freeze_embeddings=True)
    freeze(parts, values)
    trained = {id(parameter) for group in parameter_groups(parts, values) for parameter in group["params"]}
    assert id(parts.layers[0].weight) not in trained
    assert id(parts.embeddings.weight) not in trained
    assert id(parts.layers[1].weight) in trained
    with pytest.raises(ValueError, match=r"freeze_layers is 3. Allowed: 0 to 2"):
        freeze(parts, params(freeze_layers=3))


@pytest.mark.parametrize(("batches", "processes"), [(1, 1), (2, 1), (1, 2), (3, 4), (2, 8)])
def test_the_shares_of_all_processes_are_the_rows_of_the_step(batches: int, processes: int) -> None:
    from stages.training.samplers import share

    rows = np.arange(10, 23)
    parts = [share(rows, batches=batches, processes=processes, process=number) for number in range(processes)]
    assert [len(part) for part in parts] == [batches] * processes
    assert sorted(np.concatenate([batch for part in parts for batch in part]).tolist()) == rows.tolist()
    for batch in zip(*parts, strict=True):
        assert max(map(len, batch)) - min(map(len, batch)) <= 1, "nobody waits for another"


def test_weighted_and_smoothed_losses_of_batches_add_up_to_that_of_all() -> None:
    from stages.tasks.text_classification.learning import LEARNING

    labels = torch.tensor([0, 0, 0, 1])
    logits = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    assert LEARNING.class_weights is not None
    weights = torch.tensor(LEARNING.class_weights(labels.numpy(), {"labels": ["a", "b"]}), dtype=torch.float32)
    assert weights.tolist() == pytest.approx([2 / 3, 2.0])
    assert weights[labels].mean().item() == pytest.approx(1.0)
    options = {"label_smoothing": 0.1, "class_weights_C": weights}
    whole = LEARNING.loss(logits, labels, **options)
    parts = [LEARNING.loss(logits[i : i + 1], labels[i : i + 1], **options) for i in range(4)]
    assert whole.tolist() == pytest.approx(torch.cat(parts).tolist())
    plain = LEARNING.loss(logits, labels)
    assert plain.mean().item() == pytest.approx(nn.functional.cross_entropy(logits, labels).item())
    assert whole.mean().item() != pytest.approx(plain.mean().item())


def test_smoothing_gives_a_rare_label_no_more_than_any_other_whatever_it_weighs() -> None:
    """A row's loss is least where its own label has 1 - 0.1 + 0.1 / 3, and its weight multiplies all of it."""
    from stages.tasks.text_classification.learning import LEARNING

    weights, labels = torch.tensor([0.37, 3.7, 33.3]), torch.tensor([0, 1, NO_LABEL])
    smooth = torch.full((3, 3), 0.1 / 3)
    smooth[:2, :2] += 0.9 * torch.eye(2)
    logits = smooth.log().requires_grad_()
    losses = LEARNING.loss(logits, labels, label_smoothing=0.1, class_weights_C=weights)
    assert losses.tolist() == pytest.approx([*(plain_smoothed(smooth[:2]) * weights[:2]).tolist(), 0.0])
    (slopes,) = torch.autograd.grad(losses.sum(), logits)
    assert slopes.abs().max().item() == pytest.approx(0.0, abs=1e-5)


def plain_smoothed(probabilities: torch.Tensor) -> torch.Tensor:
    """The entropy of each row, which is its cross-entropy with itself."""
    return -(probabilities * probabilities.log()).sum(1)


def test_smoothing_gives_a_label_that_does_not_hold_no_weight() -> None:
    from stages.tasks.multilabel_classification.learning import LEARNING

    logits, targets = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(5, 3)
    targets[0, 0] = 1.0
    weights = torch.tensor([9.0, 30.0, 99.0])
    plain, weighed = (LEARNING.loss(logits, targets, label_smoothing=0.1, class_weights_C=w) for w in (None, weights))
    assert weighed[1:].tolist() == pytest.approx(plain[1:].tolist())
    own = functional.binary_cross_entropy_with_logits(logits[0, :1], torch.tensor([0.95])).item()
    assert weighed[0].item() == pytest.approx(plain[0].item() + 8 * own / 3)


@pytest.mark.parametrize(
    ("gpu", "amx", "avx512_bf16", "vendor", "expected"),
    [
        (True, False, False, "GenuineIntel", "fp16"),
        (True, True, True, "GenuineIntel", "fp16"),
        (False, True, True, "GenuineIntel", "bf16"),
        (False, False, True, "GenuineIntel", "fp32"),
        (False, False, True, "AuthenticAMD", "bf16"),
        (False, False, False, "AuthenticAMD", "fp32"),
        (False, False, False, "", "fp32"),
    ],
)
def test_auto_precision_is_what_the_machine_has(
    monkeypatch: pytest.MonkeyPatch, gpu: bool, amx: bool, avx512_bf16: bool, vendor: str, expected: str
) -> None:
    from stages.training.engine import resolve_precision

    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr("stages.core.machine.vendor", lambda: vendor)
    assert resolve_precision("auto") == expected
    assert resolve_precision("fp32") == "fp32"
    assert resolve_precision("bf16") == "bf16"


def test_what_linux_says_of_the_processor_is_read_and_elsewhere_nothing(tmp_path: Path) -> None:
    from stages.core.machine import _cpuinfo

    told = tmp_path / "cpuinfo"
    told.write_text("processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: A: one\n\nvendor_id\t: B\n")
    assert (_cpuinfo("vendor_id", told), _cpuinfo("model name", told)) == ("AuthenticAMD", "A: one")
    assert (_cpuinfo("bogomips", told), _cpuinfo("vendor_id", tmp_path / "none")) == ("", "")


def test_a_peak_that_takes_long_to_measure_is_that_of_the_first_product(monkeypatch: pytest.MonkeyPatch) -> None:
    from stages.training import meter

    made: list[int] = []
    monkeypatch.setattr(meter.torch, "randn", lambda *size, **_: made.append(size[0]) or torch.ones(*size))
    monkeypatch.setattr(meter, "PEAK_SECONDS", 0.0)
    assert meter.matrix_peak("fp32", torch.device("cpu")) > 0
    assert set(made) == {1024}, "not the larger ones"


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "again": {},
    "longer": {"epochs": 4},
    "patient": {"epochs": 12, "patience": 1, "freeze_embeddings": True},
    "last": {"epochs": 6, "patience": 1, "select_by": "last"},
    "chosen": {"epochs": 6, "patience": 6, "select_by": "best", "measure": "accuracy"},
    "below": {"epochs": 6, "patience": 6, "select_by": "best", "measure": "accuracy", "shift": 100.0},
    "whole": {"epochs": 1, "batch_size": 96, "dropout": 0.0, "warmup_ratio": 0.0},
    "halves": {"epochs": 1, "batch_size": 48, "dropout": 0.0, "warmup_ratio": 0.0},
    "accumulated": {"epochs": 1, "batch_size": 48, "accumulation_steps": 2, "dropout": 0.0, "warmup_ratio": 0.0},
    "zero-1": {"zero_stage": 1},
    "zero-2": {"zero_stage": 2},
    "zero-3": {"zero_stage": 3},
    "bf16": {"precision": "bf16"},
    "bf16-zero-2": {"precision": "bf16", "zero_stage": 2},
    "fp16": {"precision": "fp16"},
    "poisoned": {"poison": True},
    "dry": {"dropout": 0.0},
    "activations": {"dropout": 0.0, "activation_checkpointing": True},
    "offloaded": {"zero_stage": 1, "offload": "optimizer"},
    "smooth": {"schedule": "cosine", "layer_decay": 0.5},
    "fast": {"encoder_learning_rate": 0.05, "head_learning_rate": 0.05},
    "scaled": {"scaled_rates": True, "encoder_learning_rate": 0.05, "head_learning_rate": 0.05},
    "scaled-zero-3": {"scaled_rates": True, "encoder_learning_rate": 0.05, "head_learning_rate": 0.05, "zero_stage": 3},
    "frozen": {"freeze_layers": 2, "freeze_embeddings": True},
    "hot": {
        "encoder_learning_rate": 5.0,
        "head_learning_rate": 50.0,
        "epochs": 40,
        "patience": 40,
        "warmup_ratio": 0.0,
        "max_gradient_norm": 1e9,
        "schedule": "constant",
    },
}

TRAIN = """
import dataclasses, json, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from stages.core.contracts import Head
from stages.core.files import sha256
from stages.models.encoder import FAMILY
from stages.core.params.model import ModelParams
from stages.core.params.training import FinetuneParams
from stages.tasks.text_classification.learning import LEARNING
from stages.training.checkpoints import Checkpoints
from stages.training.loop import Learner, Places, train
from stages.training.rows import open_training_data
from stages.core.paths import Paths

root, tiny = Path(sys.argv[1]), Path(sys.argv[2])

def learn(name, poison=False, dropout=0.1, measure="macro_f1", shift=0.0, **values):
    model = ModelParams(family="encoder", name="tiny", revision=None, sha256=None, pooling="mean",
                        encoder_dropout=0.0, head_dropout=dropout, scratch=None, image=None, image_augmentation=0.0)
    torch.manual_seed(0)
    built = FAMILY.build(tiny, model, Head("row", 2))
    embeddings = built.encoder.get_input_embeddings().weight.detach().clone()
    spoil = float("nan") if poison else 1.0
    loss = lambda logits, batch, rows: LEARNING.loss(logits, batch["labels"]).mean() * spoil
    try:
        places = Places(root / "curves" / name, root / "steps" / name, Checkpoints(None))
        score = lambda targets, logits: {name: of - shift for name, of in LEARNING.score(targets, logits).items()}
        learner = Learner(FAMILY, dataclasses.replace(LEARNING, score=score), loss, measure)
        trained, report, *_ = train(built, open_training_data(Paths(root)), learner, places,
                                   params=FinetuneParams(**values), seed=5)
    except (ValueError, RuntimeError) as error:
        return {"error": str(error)}
    moved = not torch.equal(embeddings, trained.encoder.get_input_embeddings().weight.detach())
    file = root / "weights" / f"{name}.safetensors"
    file.parent.mkdir(exist_ok=True)
    save_file({name: tensor.contiguous().clone() for name, tensor in trained.state_dict().items()}, file)
    rounded = all(torch.equal(tensor, tensor.half().float()) for tensor in trained.state_dict().values())
    return {"report": report, "weights": sha256(file), "embeddings_moved": moved, "rounded": rounded}

print(json.dumps({name: learn(name, **values) for name, values in json.loads(sys.argv[3]).items()}))
"""


def write_tokens(root: Path) -> None:
    """Tokens of 96 training and 32 validation rows, of two labels with words of their own."""
    from datasets import Dataset

    random = np.random.default_rng(0)
    for split, n in (("train", 96), ("validation", 32)):
        label = random.integers(0, 2, n)
        words = [random.integers(50 + 10 * y, 60 + 10 * y, random.integers(3, 9)).tolist() for y in label]
        ids = [[2, *row, 3] for row in words]
        rows = {"row_id": [f"{split}-{i}" for i in range(n)], "input_ids": ids, "label": label.tolist()}
        Dataset.from_dict(rows).save_to_disk(str(root / "artifacts/data/tokens" / split))
    described = {"space": {"labels": ["a", "b"]}, "pad_id": 0, "max_tokens": 16}
    (root / "artifacts/data/tokens/space.json").write_text(json.dumps(described))


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Each of CASES: a tiny model that learned to tell words 50-60 from 60-70, in a process as a stage has it."""
    root = tmp_path_factory.mktemp("tokens")
    wide = write_tiny_model(tmp_path_factory.mktemp("wide"), wide=True)
    write_tokens(root)
    cases = {name: {**params().model_dump(), **changes} for name, changes in CASES.items()}
    done = subprocess.run(
        [f"{warm_python.bin_folder()}/forked", "-c", TRAIN, str(root), str(wide), json.dumps(cases)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout.splitlines()[-1]), "root": root}


def furthest(learned: dict[str, Any], one: str, other: str) -> float:
    """The largest difference between the weights of two cases, of any one weight."""
    ours, theirs = (load_file(learned["root"] / f"weights/{name}.safetensors") for name in (one, other))
    assert ours.keys() == theirs.keys()
    return max((ours[name] - theirs[name]).abs().max().item() for name in ours)


def test_training_learns_reports_and_draws_curves(learned: dict[str, Any]) -> None:
    report = learned["longer"]["report"]
    assert report["validation_macro_f1"] == 1.0
    assert report["updates"] == report["epochs_run"] * 6
    assert report["history"][-1]["train_loss"] < report["history"][0]["train_loss"]
    with (learned["root"] / "curves/longer/plots/metrics/validation/macro_f1.tsv").open() as file:
        curve = list(csv.DictReader(file, delimiter="\t"))
    assert [round(float(point["macro_f1"]), 6) for point in curve] == [epoch["macro_f1"] for epoch in report["history"]]
    assert learned["longer"]["embeddings_moved"]


def test_curves_are_drawn_in_a_repository_without_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project that was started a minute ago is one."""
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))  # as `dvc repro` has it
    with open_curves(tmp_path / "curves", {}) as lines:
        lines.log(7, {"validation/loss": 0.5})
    with (tmp_path / "curves/plots/metrics/validation/loss.tsv").open() as file:
        assert [(point["step"], point["loss"]) for point in csv.DictReader(file, delimiter="\t")] == [("7", "0.5")]


def test_the_same_seed_gives_the_same_weights_to_the_last_bit(learned: dict[str, Any]) -> None:
    assert learned["plain"] == learned["again"]


def test_early_stopping_and_frozen_embeddings(learned: dict[str, Any]) -> None:
    report = learned["patient"]["report"]
    assert report["epochs_run"] < 12
    scores = [epoch["macro_f1"] for epoch in report["history"]]
    assert report["kept_epoch"] == scores.index(max(scores)) + 1
    assert not learned["patient"]["embeddings_moved"]


def test_the_last_epoch_is_kept_and_waited_for_where_no_score_is_to_choose(learned: dict[str, Any]) -> None:
    report = learned["last"]["report"]
    scores = [epoch["macro_f1"] for epoch in report["history"]]
    assert report["kept_epoch"] == report["epochs_run"] == 6
    assert report["validation_macro_f1"] == scores[-1]
    assert scores.index(max(scores)) < 4, "patience of 1 would have stopped it, had scores chosen"
    chosen = learned["chosen"]["report"]
    assert chosen["history"] == report["history"], "the same run"
    assert chosen["kept_epoch"] < 6
    assert chosen["validation_accuracy"] == max(epoch["accuracy"] for epoch in chosen["history"])
    assert learned["last"]["weights"] != learned["chosen"]["weights"], "that keeps other weights"


def test_the_best_epoch_is_kept_also_where_its_score_is_far_below_zero(learned: dict[str, Any]) -> None:
    """As those of a measure that is better where it is lower, whose sign is turned."""
    assert learned["below"]["report"]["kept_epoch"] == learned["chosen"]["report"]["kept_epoch"]
    assert learned["below"]["weights"] == learned["chosen"]["weights"]


def test_two_accumulated_batches_are_one_of_twice_the_size(learned: dict[str, Any]) -> None:
    assert learned["whole"]["report"]["updates"] == learned["accumulated"]["report"]["updates"] == 1
    assert learned["halves"]["report"]["updates"] == 2
    assert furthest(learned, "whole", "accumulated") < TOLERANCE


def test_scaled_rates_learn_and_are_the_same_with_sharded_weights(learned: dict[str, Any]) -> None:
    report = learned["scaled"]["report"]
    assert report["history"][-1]["train_loss"] < report["history"][0]["train_loss"]
    assert furthest(learned, "scaled", "scaled-zero-3") < TOLERANCE
    assert furthest(learned, "scaled", "fast") > 100 * TOLERANCE, "with the same rates for all weights"


@pytest.mark.parametrize("case", ["zero-1", "zero-2", "zero-3", "bf16", "bf16-zero-2"])
def test_zero_stages_and_bf16_learn_the_same_and_hand_over_the_same_weights(learned: dict[str, Any], case: str) -> None:
    plain, other = learned["plain"], learned[case]
    assert other["report"]["precision"] == CASES[case].get("precision", "fp32")
    assert other["report"]["zero_stage"] == CASES[case].get("zero_stage", 0)
    exact = other["report"]["precision"] == "fp32"
    for one, two in zip(plain["report"]["history"], other["report"]["history"], strict=True):
        assert one["train_loss"] == pytest.approx(two["train_loss"], abs=2e-3 if exact else 0.1)
    assert furthest(learned, "plain", case) < (TOLERANCE if exact else 0.02)


def test_fp16_hands_over_weights_that_are_not_rounded_to_it(learned: dict[str, Any]) -> None:
    case = learned["fp16"]
    if "in which this device does not train" in case.get("error", ""):
        pytest.skip(case["error"])
    assert case["report"]["precision"] == "fp16"
    assert case["report"]["updates"] > 0
    assert case["report"]["history"][-1]["train_loss"] < case["report"]["history"][0]["train_loss"]
    assert not case["rounded"]


def test_a_loss_that_is_not_a_number_stops_the_run_with_step_and_rows(learned: dict[str, Any]) -> None:
    assert "the loss is nan at step" in learned["poisoned"]["error"]
    assert "train-" in learned["poisoned"]["error"]


def test_activations_made_again_give_the_same_weights(learned: dict[str, Any]) -> None:
    assert furthest(learned, "activations", "dry") < TOLERANCE


def test_an_offloaded_optimizer_learns_the_same(learned: dict[str, Any]) -> None:
    assert furthest(learned, "offloaded", "zero-1") < TOLERANCE


def test_schedule_and_layer_rates_and_frozen_layers_change_what_is_learned(learned: dict[str, Any]) -> None:
    for name in ("smooth", "frozen"):
        assert furthest(learned, name, "plain") > 10 * TOLERANCE
    assert not learned["frozen"]["embeddings_moved"]


@pytest.mark.parametrize(
    ("first", "windows", "stops"),
    [
        (0.7, [3.0, 3.0, 3.0], True),
        (0.7, [3.0, 3.0, 1.0, 3.0, 3.0], False),
        (0.001, [1.2, 1.3, 1.3], False),
        (0.001, [1.4, 1.5, 1.6], True),
        (5.0, [8.0, 9.0, 9.9], False),
    ],
)
def test_a_loss_far_above_that_of_the_start_in_three_windows_has_run_away(
    first: float, windows: list[float], stops: bool
) -> None:
    from stages.training.guards import LossWatch

    watch = LossWatch(guess=float(np.log(2)))
    for loss in (first, 100.0):
        watch.begin(loss)
    with pytest.raises(ValueError, match="run away") if stops else contextlib.nullcontext():
        for mean in windows:
            watch.look(mean, "epoch 1/3")


def test_a_hundred_steps_without_an_update_stop_the_run() -> None:
    from stages.training.guards import LossWatch

    watch = LossWatch(guess=1.0)
    for step, updates in ((20, 0), (99, 0), (100, 1), (199, 1)):
        watch.count(updates, step, "epoch 2/3")
    with pytest.raises(ValueError, match="epoch 2/3: no update was made in many steps: gradients overflow"):
        watch.count(1, 200, "epoch 2/3")


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_told_with_its_step_and_first_rows(loss: float) -> None:
    from stages.training.guards import check_finite

    check_finite(1.0, 7, ["train-1"], "epoch 1/2")
    with pytest.raises(
        ValueError, match=rf"the loss is {loss} at step 7, in the batch of rows train-1, train-2, \.\.\."
    ):
        check_finite(loss, 7, ["train-1", "train-2"], "epoch 1/2")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_kept(value: float) -> None:
    from stages.training.guards import check_weights

    weights = {"sound": torch.ones(2), "head": torch.tensor([1.0, value])}
    with pytest.raises(ValueError, match=r"weights are not finite numbers \(head and 0 more\). Lower the learning"):
        check_weights(weights, "epoch 3/3")


@pytest.mark.parametrize(
    "said",
    ["CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED when calling", "std::bad_alloc", "can't allocate memory"],
)
def test_memory_that_runs_out_is_told_whoever_says_it(said: str) -> None:
    from stages.training.guards import memory_is_enough

    params = load_params(REPOSITORY / "params.yaml").distill
    with pytest.raises(ValueError, match=r"batch_size 16.*activation_checkpointing"), memory_is_enough(params):
        raise RuntimeError(said)
    with pytest.raises(ValueError) as error, memory_is_enough(params.model_copy(update={"family": "bilstm"})):
        raise RuntimeError(said)
    assert "activation_checkpointing" not in str(error.value)
    with pytest.raises(ValueError) as error, memory_is_enough(params, kind="albert", whole_batch=True):
        raise RuntimeError(said)
    assert "activation_checkpointing" not in str(error.value)
    assert "accumulation_steps 2 (each row is compared with half as many others)" in str(error.value)
    with pytest.raises(RuntimeError, match="another"), memory_is_enough(params):
        raise RuntimeError("another")


def test_a_loss_that_runs_away_stops_the_run(learned: dict[str, Any]) -> None:
    assert "the loss has run away" in learned["hot"].get("error", "")
