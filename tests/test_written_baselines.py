"""The floors of tasks that write: probabilities that sum to one, translations counted by hand, sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY
from safetensors.numpy import load_file, save_file

from stages.baseline import as_stored
from stages.core.params.baseline import BaselineParams
from stages.core.params.file import load_params
from stages.tasks.contract import Linear
from stages.tasks.shared import byte_model, dictionary
from stages.tasks.shared.likelihood import of_rows
from stages.tasks.text2text_generation import baseline as of_targets
from stages.tasks.text_generation import baseline as of_texts

TEXTS = ["the cat sat on the mat.", "the dog sat on the log.", "ein Hund läuft über äöü"] * 3 + ["zzz", "日本"]


def params(**changes: object) -> BaselineParams:
    return BaselineParams.model_validate(load_params(REPOSITORY / "params.yaml").baseline.model_dump() | changes)


def bytes_model(texts: Sequence[str], longest: int) -> list[byte_model.Order]:
    return byte_model.opened(byte_model.fitted(texts, longest), longest)


@pytest.mark.parametrize("longest", [1, 3, 7])
@pytest.mark.parametrize("before", [b"the ", b"zq", b"", b"\xff\x00"])
def test_probabilities_of_all_that_may_come_next_sum_to_one(longest: int, before: bytes) -> None:
    padded = [byte_model.EDGE] * (longest - 1) + list(before)
    rows = [[*padded, symbol] for symbol in range(byte_model.SYMBOLS)]
    at = np.arange(len(rows)) * len(rows[0]) + len(padded)
    found = byte_model.Symbols(np.array(rows, dtype=np.int64).ravel(), at, np.arange(len(rows) + 1))
    values = byte_model.log_probabilities(bytes_model(TEXTS, longest), found)
    assert np.exp(values).sum() == pytest.approx(1.0, abs=1e-12)


def test_kneser_ney_of_a_hand_counted_example() -> None:
    """Of "ab", "ab", "ac": pairs ^a 3, ab 2, ac 1, b$ 2, c$ 1. One occurs... twice 2, once 2: discount 2/(2+4) = 1/3.

    Single symbols count the different ones before them: a 1, b 1, c 1, $ 2. Once 3, twice 1: 3/(3+2) = 0.6.
    """
    found = byte_model.symbols(["ab"], 2)
    values = np.exp(byte_model.log_probabilities(bytes_model(["ab", "ab", "ac"], 2), found))
    alike = 0.6 * 4 / 5 / 257
    of_a = (3 - 1 / 3) / 3 + 1 / 3 * 1 / 3 * (0.4 / 5 + alike)
    of_b = (2 - 1 / 3) / 3 + 1 / 3 * 2 / 3 * (0.4 / 5 + alike)
    of_end = (2 - 1 / 3) / 2 + 1 / 3 * 1 / 2 * ((2 - 0.6) / 5 + alike)
    assert values == pytest.approx([of_a, of_b, of_end], abs=1e-12)


def test_texts_like_those_of_training_are_likelier_and_longer_n_grams_make_them_more_so() -> None:
    def nats(longest: int, text: str) -> float:
        found = byte_model.symbols([text], longest)
        return -float(byte_model.log_probabilities(bytes_model(TEXTS, longest), found).sum())

    assert nats(5, "the cat sat") < nats(3, "the cat sat") < nats(1, "the cat sat") < nats(5, "qwv xkj zpt")


def test_the_floor_of_texts_gives_the_same_from_its_files_and_for_texts_one_by_one(tmp_path: Path) -> None:
    model = of_texts.fit(TEXTS, [], {}, params(max_bytes=4), 0)
    save_file({name: as_stored(array) for name, array in model.weights.items()}, tmp_path / "weights.safetensors")
    stored = Linear([], load_file(tmp_path / "weights.safetensors"), model.settings)
    together = of_texts.opened(stored)(["the fog", "", "über"])
    assert together.offsets is not None
    assert together.offsets.tolist() == [0, 8, 9, 15]  # bytes, and the end of each
    assert together.characters is not None
    assert together.characters[9:].tolist() == [[0, 1], [0, 1], [1, 2], [2, 3], [3, 4], [4, 4]]
    one_by_one = [float(of_rows(of_texts.opened(model)([text]))[0]) for text in ("the fog", "", "über")]
    assert of_rows(together) == pytest.approx(one_by_one, abs=1e-9)
    assert all(math.isfinite(nats) and nats < 0 for nats in one_by_one)


def test_no_texts_are_no_outputs() -> None:
    found = of_texts.opened(of_texts.fit(TEXTS, [], {}, params(), 0))([])
    assert found.values.shape == (0, 1)
    assert found.offsets is not None
    assert found.offsets.tolist() == [0]


@pytest.mark.parametrize(
    ("source", "first"),
    [
        ("He said no. Then he left.", "He said no."),
        ('He said "No." Then left.', 'He said "No."'),
        ("Version 3.5 is out! Get it.", "Version 3.5 is out!"),
        ("A line\nthat goes on\n\nNext paragraph.", "A line that goes on"),
        ("Of arrays, e.g. NumPy's. They differ.", "Of arrays, e.g. NumPy's."),
        ("日本語。次。", "日本語。"),
        ("no end", "no end"),
        ("  ", ""),
    ],
)
def test_the_lead_is_the_first_sentence_in_a_line(source: str, first: str) -> None:
    assert of_targets.lead(source) == first


PAIRS = [
    ("a dog", "ein Hund"), ("a cat", "eine Katze"), ("the dog", "der Hund"), ("the cat", "die Katze"),
    ("a dog runs", "ein Hund läuft"), ("the cat runs", "die Katze läuft"), ("dog", "Hund"), ("cat", "Katze"),
]  # fmt: skip


def test_the_dictionary_learns_words_from_texts_side_by_side() -> None:
    words = dictionary.learned([one for one, _ in PAIRS], [other for _, other in PAIRS])
    assert {name: words[name] for name in ("dog", "cat", "runs")} == {"dog": "Hund", "cat": "Katze", "runs": "läuft"}
    assert dictionary.learned(["book", "girl"], ["किताब", "लड़की"]) == {"book": "किताब", "girl": "लड़की"}
    assert dictionary.translated("Dog, UFO (runs)!", words) == "Hund, UFO (läuft)!"


def test_one_round_of_the_dictionary_is_that_of_a_hand_counted_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of "x": "A", and "x y": "A B", with no word as a third source: A comes from x by 1/2 and 1/3, B by 1/3."""
    monkeypatch.setattr(dictionary, "ROUNDS", 1)
    assert dictionary.learned(["x", "x y"], ["A", "A B"]) == {"x": "A", "y": "A"}  # of equal shares the first


def test_signs_are_left_where_they_are_and_sources_without_words_are_no_fault() -> None:
    assert dictionary.learned(["!"], ["?"]) == {}
    assert dictionary.learned([], []) == {}
    assert dictionary.translated("Hm... (x)  “y”", {"x": "z"}) == "Hm... (z)  “y”"


def write(**changes: object) -> tuple[str, list[str]]:
    model = of_targets.fit([one for one, _ in PAIRS] * 5, [other for _, other in PAIRS] * 5, {}, params(**changes), 0)
    found = of_targets.opened(model)(["a dog runs. The end.", "cat"])
    assert found.written is not None
    return model.settings["writes"], list(found.written)


@pytest.mark.parametrize(
    ("writes", "written"),
    [("lead", ["a dog runs.", "cat"]), ("copy", ["a dog runs. The end.", "cat"])],
)
def test_the_floor_of_targets_writes_what_the_parameter_says(writes: str, written: list[str]) -> None:
    assert write(writes=writes) == (writes, written)


def test_auto_takes_what_comes_nearest_to_the_targets() -> None:
    assert write(writes="auto")[0] == "dictionary"
    sources = [f"Row {i} is a text. It goes on with {i * 7} more." for i in range(40)]
    assert of_targets.best(sources, [of_targets.lead(source) for source in sources]) == "lead"
    assert of_targets.best(sources, sources) == "copy"


def test_the_floor_of_targets_knows_no_probabilities() -> None:
    model = of_targets.fit(["a b"], ["c"], {}, params(writes="copy"), 0)
    found = of_targets.opened(model)([("a b", "c")])
    assert found.offsets is not None
    assert (found.offsets.tolist(), found.written) == ([0, 0], None)
