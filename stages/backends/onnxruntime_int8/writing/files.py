"""Graphs as files whose large constants lie in one file beside them, each of them once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx.external_data_helper import set_external_data

from stages.backends.onnxruntime_int8.writing.stepper import DATA

SHARED_FROM = 1024  # bytes: smaller constants stay in the graph
ALIGNED = 4096  # so that a constant begins on a page, and is mapped rather than read


def save(models: Mapping[str, onnx.ModelProto], folder: Path) -> None:
    """Write the graphs by their files' names to `folder`. What several of them have stands there once."""
    (folder / DATA).unlink(missing_ok=True)  # a session that has the earlier file in its memory keeps that
    places: dict[bytes, int] = {}
    with (folder / DATA).open("wb") as file:
        for model in models.values():
            for tensor in model.graph.initializer:
                data = tensor.raw_data
                if len(data) < SHARED_FROM:
                    continue
                key = hashlib.sha256(data).digest()
                if key not in places:
                    file.write(b"\0" * (-file.tell() % ALIGNED))
                    places[key] = file.tell()
                    file.write(data)
                set_external_data(tensor, DATA, offset=places[key], length=len(data))
                tensor.ClearField("raw_data")
    for name, model in models.items():
        (folder / name).write_bytes(model.SerializeToString(deterministic=True))
