"""Which near-duplicates go: each is near a row that stays, and has its label; chains, contrasts and symbols stay."""

from __future__ import annotations

import random
from pathlib import Path

import hypothesis
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cleaning import cleaned, sentences

from stages.cleaning import duplicates
from stages.cleaning.keys import form_of

THRESHOLD = 0.8


def shingles(key: str) -> set[str]:
    return {key[at : at + 5] for at in range(len(key) - 4)}


def similarity(one: str, other: str) -> float:
    """Jaccard's of the sets of five letters, by definition."""
    left, right = shingles(one), shingles(other)
    return len(left & right) / len(left | right)


def made(seed: int) -> list[tuple[str, str]]:
    """(text, label): chains, pairs that differ in a word, and templates, under two labels, in any order."""
    draw = random.Random(seed)

    def word() -> str:
        return "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(3, 9)))

    rows = []
    for _ in range(draw.randint(1, 3)):  # chains: of 30 words 2 are changed at a time, from the first to the last
        words = [word() for _ in range(30)]
        for at in range(0, 30, 2):
            words[at : at + 2] = [word(), word()]
            rows.append((" ".join(words), draw.choice("ab")))
    for _ in range(10):  # contrasts
        words = [word() for _ in range(25)]
        rows += [(" ".join(words), "a"), (" ".join([*words[:12], "not", *words[12:]]), draw.choice("ab"))]
    frame = " ".join(word() for _ in range(12))
    rows += [(f"{frame} {draw.randint(0, 99)} {word()}", draw.choice("ab")) for _ in range(40)]  # a template
    draw.shuffle(rows)
    return list(dict(rows).items())


@hypothesis.settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 10_000))
def test_each_row_that_goes_is_near_one_that_stays_and_has_its_label(seed: int) -> None:
    rows = sorted(made(seed))
    keys = [key for key, _ in rows]
    labels = np.array([ord(label) - ord("a") for _, label in rows])
    order = np.random.default_rng(seed).permutation(len(rows))
    table = pa.array(keys, pa.large_string())
    known = duplicates.neighbours(table, jaccard=THRESHOLD, compared=np.full(len(keys), True))
    of = duplicates.repeated(known, order, labels[order], np.zeros(len(keys), dtype=bool))
    gone = np.flatnonzero(of >= 0)
    assert (of[of[gone]] < 0).all()
    assert (labels[order[gone]] == labels[order[of[gone]]]).all()
    assert (of[gone] < gone).all()  # the one that is preferred stays
    assert all(similarity(keys[order[at]], keys[order[of[at]]]) >= THRESHOLD for at in gone)
    stay = order[of < 0]
    left = [
        (one, other)
        for at, one in enumerate(stay) for other in stay[:at]
        if labels[one] == labels[other] and similarity(keys[one], keys[other]) >= THRESHOLD
    ]  # fmt: skip
    assert len(left) <= 1  # banding misses 5 in 1,000 of the pairs at the threshold


def test_of_a_chain_every_other_text_or_so_stays_with_its_label(tmp_path: Path) -> None:
    words = sentences(1, words=60)[0].rstrip(".").split()
    chain = []
    for at in range(0, 60, 3):
        words[at : at + 3] = [f"new{at}", f"other{at}", f"more{at}"]
        chain.append(" ".join(words))
    rows = [(text, "b" if at == 10 else "a", None) for at, text in enumerate(chain)]
    kept, _, dropped = cleaned(tmp_path, rows)
    texts = {f"row-{at}": text for at, text in enumerate(chain)}
    assert 7 <= len(kept) <= 14
    assert "row-10" in set(kept["row_id"])  # the only one of its label
    for gone, of in zip(dropped["row_id"], dropped["repeats"], strict=True):
        assert of in set(kept["row_id"])
        assert similarity(texts[gone], texts[of]) >= THRESHOLD
    assert kept["split"].nunique() == 1  # all hang together, so no split parts them


KETTLE = "I bought this kettle in March and after half a year of daily use I would {}recommend it to all of my friends"


@pytest.mark.parametrize("policy", ["drop", "majority", "keep"])
def test_texts_that_differ_in_a_word_and_in_the_label_both_stay_in_one_split(tmp_path: Path, policy: str) -> None:
    rows = [(KETTLE.format(""), "pos", None), (KETTLE.format("not "), "neg", None)]
    rows += [(text, "pos", None) for text in sentences(60)]
    kept, _, dropped = cleaned(tmp_path, rows, conflicting_labels=policy, validation_fraction=0.3, test_fraction=0.3)
    assert dropped.empty
    assert kept.set_index("row_id").loc[["row-0", "row-1"], "split"].nunique() == 1


def test_a_training_row_near_a_given_test_row_with_another_label_is_no_leak(tmp_path: Path) -> None:
    rows = [
        (KETTLE.format(""), "pos", "test"),
        (KETTLE.format("not "), "neg", "train"),
        (KETTLE.format("still "), "pos", "train"),
        (sentences(1)[0], "neg", "train"),
    ]
    kept, _, dropped = cleaned(tmp_path, rows)
    assert dropped[["row_id", "reason", "repeats"]].values.tolist() == [["row-2", "leaked", "row-0"]]
    assert "row-1" in set(kept["row_id"])


SYMBOLS = [
    ("good \U0001f600", "good \U0001f620"), ("well :)", "well :("), ("I write C++ all day", "I write C# all day"),
    ("it is -5 degrees", "it is +5 degrees"), ("only $5 a month", "only \u20ac5 a month"),
    ("we will win \U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
     "we will win \U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"),
    ("\u0646\u0627\u0645\u0647\u200c\u0627\u06cc", "\u0646\u0627\u0645\u0647\u0627\u06cc"),
]  # fmt: skip


@pytest.mark.parametrize("texts", SYMBOLS)
def test_texts_that_differ_in_symbols_alone_stay_where_their_labels_differ(
    tmp_path: Path, texts: tuple[str, str]
) -> None:
    rows = [(texts[0], "a", None), (texts[1], "b", None), (texts[0].upper(), "a", None)]
    kept, report, dropped = cleaned(tmp_path / "unlike", rows)
    assert dict(zip(dropped["row_id"], dropped["reason"], strict=True)) == {"row-2": "exact_duplicate"}
    assert report["conflicting_texts"]["texts"] == 0
    assert sorted(kept["text"]) == sorted(texts)
    _, _, dropped = cleaned(tmp_path / "alike", [(texts[0], "a", None), (texts[1], "a", None)])
    assert dropped["reason"].tolist() == ["exact_duplicate"]


def test_a_conflict_is_one_of_texts_that_read_the_same(tmp_path: Path) -> None:
    """Of `C++` three rows under two labels, of `C#` one: those of `C++` conflict, and `C#` stays."""
    rows = [("I write C++.", "a", None), ("I write C++", "b", None), ("i WRITE c++!", "a", None)]
    rows += [("I write C#", "b", None)]
    kept, report, dropped = cleaned(tmp_path, rows)
    assert kept["row_id"].tolist() == ["row-3"], dropped
    assert set(dropped["reason"]) == {"conflicting_label"}
    (shown,) = report["conflicting_texts"]["examples"]
    assert shown["labels"] == {"a": 2, "b": 1}


@pytest.mark.parametrize(
    ("one", "other"),
    [("thank you \u2764", "thank you \u2764\ufe0f"), ("see you soon", "see you\u034f soon"), ("\u115fab", "a\u180bb"),
     ("\U0001f468\u200d\U0001f469", "\U0001f468\U0001f469")],
)  # fmt: skip
def test_what_nobody_sees_makes_no_two_texts(tmp_path: Path, one: str, other: str) -> None:
    """A training row that repeats a given test row but for an ignorable character has leaked."""
    fillers = [(text, "neg", split) for text, split in zip(sentences(2), ("train", "test"), strict=True)]
    _, _, dropped = cleaned(tmp_path, [(one, "pos", "test"), (other, "pos", "train"), *fillers])
    assert dropped[["row_id", "reason"]].values.tolist() == [["row-1", "leaked"]]


def test_the_form_of_a_text_holds_what_a_reader_tells_it_by() -> None:
    assert form_of("Well, \u201cI KNOW\u201d.") == form_of("well I know") == "well i know"
    assert form_of("v1.2 costs $5!") == "v1.2 costs $5"
    assert form_of("thanks \u2764\ufe0f") == form_of("thanks \u2764")
    assert len({form_of(text) for text in ("C", "C++", "C#", ":)", ":(")}) == 5


@pytest.mark.parametrize(
    ("text", "stays"), [("yes", True), ("no", True), ("\u597d", True), ("\u2b50", True), ("k", False), ("?", False)]
)
def test_a_length_counts_what_a_script_writes(tmp_path: Path, text: str, stays: bool) -> None:
    kept, _, dropped = cleaned(tmp_path, [(text, "a", None), (sentences(1)[0], "b", None)])
    assert (len(kept), dropped["reason"].tolist()) == ((2, []) if stays else (1, ["too_short"]))


def test_short_rows_that_a_given_test_split_keeps_are_counted(tmp_path: Path) -> None:
    """Two characters of Chinese count for six letters."""
    one, two = sentences(2)
    rows = [
        ("cancel", "a", "test"),
        ("no", "a", "test"),
        ("\u53d6\u6d88", "a", "train"),
        (one, "b", "test"),
        (two, "a", "train"),
    ]
    kept, report, _ = cleaned(tmp_path, rows, min_chars=6)
    assert len(kept) == 5
    assert report["spared_in_test"] == {"too_short": 1}
    assert sum(report["dropped_by_reason"].values()) == 0
