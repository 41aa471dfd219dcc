"""What the model card makes of names that users give."""

from __future__ import annotations

from typing import Any

from conftest import REPOSITORY

from flows.review.cards import model_card
from stages.core.files import read_json
from stages.core.params.file import load_params


def test_names_of_classes_and_slices_are_no_markup_and_no_cells() -> None:
    quality: dict[str, Any] = read_json(REPOSITORY / "metrics/quality/quantized.json")
    part = next(iter(quality["per_label"].values()))
    quality["per_label"] = {"a|b": part, "<script>alert(1)</script>": part}
    slices = next(iter(quality["slices"].values()))
    quality["slices"] = {"length": {"x|y <b>": next(iter(slices.values()))}}
    quality["worst_slice"] = quality["worst_slice"] | {"name": "label: <img src=x>"}
    card = model_card(load_params(REPOSITORY / "params.yaml"), REPOSITORY, quality)
    assert "<script>" not in card
    assert "<b>" not in card
    assert "<img" not in card
    header = next(line for line in card.splitlines() if line.startswith("| label |"))
    (own,) = (line for line in card.splitlines() if line.startswith("| a\\|b"))
    assert own.replace("\\|", "").count("|") == header.count("|")
    assert "license" not in card.split("---")[1], "it is the user's to say"
