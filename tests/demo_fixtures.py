"""Small int8 models of each kind that a demo page runs, quantized and sealed as the stages do it, and texts to ask."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from conftest import REPOSITORY, TOPICS
from test_bilstm import begun
from test_cleaning_rules import ODD, TROUBLE, cleaning
from test_models import build
from transformers import PreTrainedTokenizerFast

from stages.backends.onnxruntime_int8 import quantizer
from stages.cleaning import RULES
from stages.core import model_folder
from stages.core.contracts import Family, Head
from stages.core.files import read_json, write_json
from stages.core.params.file import load_params
from stages.models import bilstm, encoder
from stages.tokens.capitals import marked

PARAMS = load_params(REPOSITORY / "params.yaml")
WORDS = [word for words in TOPICS.values() for word in words] + ["the", "a", "with", "near", "Ship", "OLD", "Storm's"]
PROSE = [" ".join(WORDS[at : at + length]) for length in (1, 3, 7, 19) for at in range(0, len(WORDS), 3)]
LABELS = ["kitchen", "sea", "forest"]
EASY = [rule for rule in RULES if rule != "markdown_markup"]


class Kind(NamedTuple):
    """What is particular to a model."""

    task: str
    space: Mapping[str, Any]
    about: Mapping[str, Any] = {}
    rules: tuple[str, ...] | None = tuple(PARAMS.clean.rules)
    capitals: bool = False
    family: str = "encoder"
    activations: str = "static"


CLASSES = {"labels": LABELS}
KINDS = {
    "labels": Kind("text_classification", CLASSES, {"max_tokens": 16, "temperature": 1.49}),
    "capitals": Kind("text_classification", CLASSES, {"max_tokens": 64}, ("classic",), capitals=True),
    "lstm": Kind("text_classification", CLASSES, {"max_tokens": 12}, None, family="bilstm"),
    "sets": Kind(
        "multilabel_classification", {**CLASSES, "thresholds": {"sea": 0.4, "forest": 0.9}},
        {"max_tokens": 10, "long_texts": "windows", "stride": 2}, ("mask_urls", "mask_numbers", "white_space"),
        activations="dynamic",
    ),
    "numbers": Kind("regression", {"mean": 2.5, "deviation": 0.8}, {"max_tokens": 24}),
}  # fmt: skip


def texts(count: int, seed: int) -> list[str]:
    """Prose, and pieces of all that has been known to make trouble, put together at random."""
    draw = random.Random(seed)
    pieces = [piece for piece in [*TROUBLE.split(" "), *ODD] if "\ud800" not in piece]

    def piece() -> str:
        if draw.random() < 0.4:
            return draw.choice(pieces)
        if draw.random() < 0.5:
            return draw.choice(WORDS)
        return chr(draw.choice([*range(0xD800), *range(0xE000, 0x20000), *range(0x2F800, 0x2FA20)]))

    odd = ["".join(piece() + draw.choice(["", " "]) for _ in range(draw.randrange(12))) for _ in range(count // 2)]
    return [*odd, *draw.choices(PROSE, k=count - len(odd))]


def with_capitals(tiny: Path, folder: Path) -> Path:
    """A copy of the model in `tiny`, with a tokenizer that marks capitals."""
    shutil.copytree(tiny, folder)
    source = read_json(folder / "tokenizer.json")
    vocabulary = source["model"]["vocab"]
    for number, word in enumerate(("zebra", "violin")):
        vocabulary[f"[unused{number}]"] = vocabulary.pop(word)
    write_json(folder / "tokenizer.json", source)
    marked(PreTrainedTokenizerFast.from_pretrained(folder)).save_pretrained(folder)
    return folder


def model_of(kind: Kind, tiny_models: Callable[[str], Path], folder: Path) -> Path:
    """The sealed int8 model; random, with weights so large that texts get clearly different answers."""
    tiny = with_capitals(tiny_models("bert"), folder / "tiny") if kind.capitals else tiny_models("bert")
    family, model = _random(kind, tiny)
    about = {"family": kind.family, "temperature": 1.0, **kind.about, "space": dict(kind.space), "task": kind.task}
    if kind.rules is not None:
        about["cleaning"] = json.loads(json.dumps(cleaning([*kind.rules], max_chars=120)._asdict()))
    family.write(model, folder / "exact")
    for name, backend in (("exact", "pytorch"), ("int8", "onnxruntime_int8")):
        (folder / name).mkdir(exist_ok=True)
        shutil.copyfile(tiny / "tokenizer.json", folder / name / "tokenizer.json")
        if backend != "pytorch":
            params = PARAMS.quantize.model_copy(update={"activations": kind.activations})
            quantizer.prepare(folder / "exact", params, PROSE).write(folder / name, ())
        model_folder.seal(folder / name, backend=backend, **about)
    return folder / "int8"


def _random(kind: Kind, tiny: Path) -> tuple[Family, Any]:
    if kind.family == "bilstm":
        return bilstm.FAMILY, begun(build(tiny), pooling="mean", layers=1)
    torch.manual_seed(3)
    model: Any = encoder.FAMILY.build(
        tiny, PARAMS.model.model_copy(update={"name": str(tiny), "revision": None, "sha256": None}),
        Head("row", len(kind.space.get("labels", [0]))),
    )  # fmt: skip
    with torch.no_grad():
        model.head.weight.mul_(5)
    return encoder.FAMILY, model.eval()
