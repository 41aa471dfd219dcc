"""Small sealed int8 folders, one a task, and environments that have what the light install needs."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from bare_python import make_of
from conftest import REPOSITORY, TOPICS
from safetensors.numpy import save_file
from test_tower_graphs import images, written
from test_two_towers import SHAPE, params_of
from tokenizers import Tokenizer
from writing_fixtures import TEXTS as WRITTEN
from writing_fixtures import write_writer

from flows.runtime.build import closed
from flows.runtime.contents import NEEDS
from stages.backends import QUANTIZERS
from stages.core import model_folder
from stages.core.contracts import Head
from stages.core.params.file import load_params
from stages.core.params.model import ModelParams
from stages.models import two_towers
from stages.models.encoder import FAMILY

PARAMS = load_params(REPOSITORY / "params.yaml")
TEXTS = [" ".join(words[:n]) for n in (1, 4, 9) for words in TOPICS.values()]
PAIRS = [(TEXTS[0], TEXTS[4]), (TEXTS[7], TEXTS[2])]


class Kind(NamedTuple):
    """A task's model: its head, all that it can answer, what else model.json says, and what it is asked."""

    head: Head
    space: dict[str, Any]
    more: dict[str, Any]
    asked: Sequence[Any] = TEXTS


KINDS = {
    "text_classification": Kind(Head("row", 3), {"labels": ["a", "b", "c"]}, {}),
    "multilabel_classification": Kind(
        Head("row", 3), {"labels": ["a", "b", "c"], "thresholds": {"a": 0.3, "b": 0.5, "c": 0.7}}, {}
    ),
    "regression": Kind(Head("row", 1), {"mean": 3.0, "deviation": 1.5}, {}),
    "token_classification": Kind(Head("token", 5), {"tags": ["O", "B-x", "I-x", "B-y", "I-y"]}, {}),
    "question_answering": Kind(Head("token", 2), {"unanswerable": True, "longest": 3}, {"pairs": True}, PAIRS),
    "sentence_similarity": Kind(
        Head("vector", 0), {"targets": "numbers", "low": 0.0, "high": 5.0}, {"apart": True}, PAIRS
    ),
}
TOWERS = "image_text_matching"  # asked for texts alone: files of images need packages of their own
WRITERS: dict[str, Any] = {"text_generation": ("gpt2", None), "text2text_generation": ("t5", "apart")}
ASKED: dict[str, Sequence[Any]] = {
    **{task: kind.asked for task, kind in KINDS.items()}, **dict.fromkeys(WRITERS, WRITTEN[:2]), TOWERS: TEXTS,
}  # fmt: skip


def write_int8(task: str, folder: Path, tiny: Path, backend: str = "onnxruntime_int8") -> Path:
    """A sealed folder of that task in `folder`, of a random model with a steep head; `tiny`: an encoder's."""
    quantizer = importlib.import_module(QUANTIZERS[backend].partition(":")[0])
    student = folder.with_name(f"{folder.name}-student")
    student.mkdir(parents=True)
    folder.mkdir()
    calibration = list(ASKED[task])
    if task in WRITERS:
        write_writer(student, *WRITERS[task])
    elif task == TOWERS:
        _write_towers(student, tiny)
        calibration += images(8)
    else:
        _write_student(task, student, tiny)
    quantizer.prepare(student, PARAMS.quantize, calibration).write(folder, ())
    shutil.copyfile(student / "tokenizer.json", folder / "tokenizer.json")
    model_folder.seal(folder, **{**model_folder.describe(student), "backend": backend})
    return folder


def _write_student(task: str, student: Path, tiny: Path) -> None:
    kind = KINDS[task]
    named: dict[str, Any] = {"family": "encoder", "name": str(tiny), "revision": None, "sha256": None}
    torch.manual_seed(1)
    model: Any = FAMILY.build(
        tiny,
        ModelParams(
            **named,
            pooling="mean",
            encoder_dropout=0.0,
            head_dropout=0.0,
            scratch=None,
            image=None,
            image_augmentation=0.0,
        ),
        kind.head,
    )
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if name.startswith("head") and weights.dim() > 1:
                weights.mul_(20)
    FAMILY.write(model, student)
    shutil.copyfile(tiny / "tokenizer.json", student / "tokenizer.json")
    cleaning = {"rules": PARAMS.clean.rules, "masks": {}, "stop_words": [], "max_chars": 1000}
    described = {"family": "encoder", "max_tokens": 24, "pad_id": 0, "cleaning": cleaning, **kind.more}
    model_folder.seal(student, backend="pytorch", task=task, space=kind.space, **described)


def _write_towers(student: Path, tiny: Path) -> None:
    torch.manual_seed(1)
    written(two_towers.build(tiny, params_of(tiny, SHAPE), Head("vector", 0)).eval(), student, tiny)


def write_static(folder: Path, tiny: Path) -> Path:
    """A sealed folder with a random vector of each token, and a linear head on their mean."""
    folder.mkdir(parents=True)
    shutil.copyfile(tiny / "tokenizer.json", folder / "tokenizer.json")
    size, draw = Tokenizer.from_file(str(tiny / "tokenizer.json")).get_vocab_size(), np.random.default_rng(0)
    weights = {
        "vectors": draw.normal(size=(size, 8)), "weights": np.ones(size), "coefficients": draw.normal(size=(3, 8)) * 9,
        "intercept": np.zeros(3),
    }  # fmt: skip
    save_file({name: value.astype(np.float32) for name, value in weights.items()}, folder / "model.safetensors")
    model_folder.seal(
        folder, backend="static", task="text_classification", space=KINDS["text_classification"].space, max_tokens=24,
        per_token=False,
    )  # fmt: skip
    return folder


def light_python(folder: Path, wheel: Path, *extras: str) -> Path:
    """The Python of an environment in `folder` with the wheel, and links to the packages that it needs."""
    python = make_of(folder, closed({name for extra in ("", *extras) for name in NEEDS[extra]}))
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    return python


ASK = """
import json, sys
from winnow import load
model = load(sys.argv[1], threads=1)
answers = model([tuple(one) if isinstance(one, list) else one for one in json.loads(sys.argv[2])])
print(json.dumps([answers, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def answered(python: Path, folder: Path, asked: Sequence[Any], *, cwd: Path) -> tuple[list[Any], set[str]]:
    """What `load` in that environment answers, and the names of all that it has imported."""
    command = [str(python), "-c", ASK, str(folder), json.dumps(asked)]
    done = subprocess.run(command, cwd=cwd, env=alone(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers, modules = json.loads(done.stdout)
    return answers, set(modules)


def alone(**more: str) -> dict[str, str]:
    """The environment of a process that shall find this repository nowhere, and compiles what it imports."""
    others = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if name not in others} | more
