"""Opening of a model's folder with any backend; the runner takes raw texts, and cleans them as in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stages.backends import RUNNERS
from stages.cleaning.rules import cleaner, of_description
from stages.core.contracts import Outputs, Runner, Text, each
from stages.core.model_folder import describe, plugin_of, reads_apart, verify, wants_pairs


def open_runner(folder: Path, *, threads: int) -> Runner:
    """Open the model in `folder`, with `threads` threads, after checking it against its manifest.

    Its `predict` cleans texts by the rules in model.json, which were applied to the training texts. It raises
    ValueError for single texts where the model is of pairs, and the other way round; one that reads the texts of a pair
    apart takes both, but not in one call.
    """
    description = describe(folder)
    verify(folder)
    runner = plugin_of(folder, "backend", RUNNERS)(folder, threads)
    cleaning = of_description(description)
    clean = cleaner(cleaning) if cleaning else str

    def predict(texts: Sequence[Text]) -> Outputs:
        are_pairs = wants_pairs(description)
        if reads_apart(description):
            are_pairs = len(texts) > 0 and not isinstance(texts[0], str)
        checked = _checked(texts, folder, are_pairs=are_pairs, either=reads_apart(description))
        return runner.predict([each(clean, text) for text in checked])

    return replace(runner, predict=predict, clean=clean)


def _checked(texts: Sequence[Any], folder: Path, *, are_pairs: bool, either: bool) -> Sequence[Text]:
    """The texts, pairs as tuples. Raises ValueError for texts of another kind than the model in `folder` takes.

    `either`: whether it would take the other kind as well, if all of them were of it.
    """
    for number, text in enumerate(texts, start=1):
        is_pair = isinstance(text, list | tuple) and len(text) == 2 and all(isinstance(part, str) for part in text)
        if is_pair != are_pairs or not (is_pair or isinstance(text, str)):
            found = "a pair" if is_pair else "a single text" if isinstance(text, str) else f"{str(text)[:40]!r}"
            wanted = (
                "pairs of texts: give (text, text_pair); to `winnow predict`, TEXT --pair TEXT, or a file with a tab"
                " between the two"
                if are_pairs
                else "single texts: give a str; to `winnow predict`, no --pair"
            )
            if either:
                raise ValueError(
                    f"{folder}: text number {number} is {found}, and the first is none. Ask for them apart."
                )
            raise ValueError(f"{folder}: text number {number} is {found}. The model was trained on {wanted}.")
    return [(text[0], text[1]) for text in texts] if are_pairs else texts
