"""Texts to be written, from cleaning to validation: none is cut, and rows are alike by source and by target."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_cleaning import OF_ANY_TASK, Outcome, cleaned, run_clean, sentences
from test_validate import params, write

from stages.cleaning.reasons import OF_TARGETS
from stages.cleaning.written import ratios
from stages.core.params.file import Params
from stages.core.paths import SPLITS
from stages.validate import validate
from stages.validation.written import targets_of

TO_WRITE: dict[str, Any] = {"task": "text2text_generation", "conflicting_labels": "keep"}
SOURCES, TARGETS = sentences(40, seed=1), sentences(40, seed=2)


def pairs(folder: Path, rows: list[tuple[Any, Any, Any]], **changes: Any) -> Outcome:
    return cleaned(folder, rows, **TO_WRITE, **changes)


def why(dropped: pd.DataFrame) -> dict[str, tuple[str, str | None]]:
    """By the dropped row's id its reason, and the row that it repeats."""
    return {
        row: (reason, None if pd.isna(repeats) else repeats)
        for row, reason, repeats in dropped[["row_id", "reason", "repeats"]].itertuples(index=False)
    }


def changed(text: str) -> str:
    """The text with another last word: a near-duplicate."""
    return text[:-4] + "qqq."


def test_a_target_is_never_cut_and_one_that_is_too_long_takes_its_row_along(tmp_path: Path) -> None:
    long = " ".join(sentences(40, seed=9))
    rows = [(SOURCES[0], long, None), (long, TARGETS[1], None), (SOURCES[2], TARGETS[2], None)]
    kept, report, dropped = pairs(tmp_path / "any", rows, max_chars=200)
    assert len(dropped) == 0
    labels = kept.set_index("row_id")["label"]
    assert labels["row-0"] == long  # as it was, though sources are cut
    assert report["cut"] == 1
    kept, report, dropped = pairs(tmp_path / "less", rows, max_chars=200, max_target_chars=150)
    assert why(dropped) == {"row-0": ("target_too_long", None)}
    assert report["dropped_by_reason"]["target_too_long"] == 1


def test_a_text_alone_that_would_be_cut_is_dropped_and_counted_also_from_a_given_test_split(tmp_path: Path) -> None:
    long = " ".join(sentences(40, seed=9))
    rows = [
        (long, "1 1", None),
        (SOURCES[0], "1 1", None),
        (long + " more", "1 1", "test"),
        (SOURCES[1], "1 1", "test"),
    ]
    kept, report, dropped = cleaned(tmp_path, rows, task="text_generation", max_chars=200)
    assert why(dropped) == {"row-0": ("too_long", None), "row-2": ("too_long", None)}
    assert report["dropped_by_reason"]["too_long"] == 2
    assert report["cut"] == 0
    assert sorted(kept["text"]) == sorted(SOURCES[:2])


def test_texts_alone_are_duplicates_whatever_their_sizes_are(tmp_path: Path) -> None:
    rows = [(SOURCES[0], "9 9", None), (SOURCES[0].upper() + "!!", "7 7", None), (changed(SOURCES[0]), "5 5", None)]
    kept, report, dropped = cleaned(tmp_path, rows, task="text_generation", near_duplicate_jaccard=0.7)
    assert why(dropped) == {"row-1": ("exact_duplicate", "row-0"), "row-2": ("near_duplicate", "row-0")}
    assert report["conflicting_texts"]["texts"] == 0
    assert len(kept) == 1


def test_copies_ratios_of_lengths_and_long_targets_are_dropped_where_asked_for_and_spared_in_a_given_test_split(
    tmp_path: Path,
) -> None:
    rows = [
        (SOURCES[0], SOURCES[0].upper(), None),
        (SOURCES[1], "Oh.", None),
        ("Well well.", TARGETS[2], None),
        (SOURCES[3], TARGETS[3], None),
        (SOURCES[4], SOURCES[4], "test"),
        (SOURCES[5], "No.", "test"),
    ]
    asked = {"copied_targets": "drop", "max_length_ratio": 5.0, "max_target_chars": 10_000}
    _, report, dropped = pairs(tmp_path / "asked", rows, **asked)
    assert why(dropped) == {
        "row-0": ("copied_target", None),
        "row-1": ("length_ratio", None),
        "row-2": ("length_ratio", None),
    }
    assert report["spared_in_test"] | {"copied_target": 1, "length_ratio": 1} == report["spared_in_test"]
    assert sorted(report["dropped_by_reason"]) == sorted(
        [*OF_ANY_TASK, *OF_TARGETS, "leaked_target", "repeated_target"]
    )
    assert len(pairs(tmp_path / "not", rows)[2]) == 0


@pytest.mark.skipif(importlib.util.find_spec("py3langid") is None, reason="py3langid is not installed")
def test_a_target_in_another_language_is_dropped_where_asked_for(tmp_path: Path) -> None:
    english = "The children are playing in the garden behind the old house with their dog."
    german = "Die Kinder spielen im Garten hinter dem alten Haus mit ihrem Hund und lachen."
    rows = [(english, german, None), (english + " It is late.", english.replace("dog", "cat"), None)]
    _, report, dropped = pairs(tmp_path, rows, target_languages=["de"], languages=["en"], near_duplicate_jaccard=1)
    assert why(dropped) == {"row-1": ("other_target_language", None)}
    assert report["dropped_by_reason"]["other_target_language"] == 1


def test_rows_are_near_duplicates_where_source_and_target_are(tmp_path: Path) -> None:
    near, near_target = changed(SOURCES[0]), changed(TARGETS[0])
    rows = [
        (SOURCES[0], TARGETS[0], None),
        (near, near_target, None),  # both are near
        (near.upper(), TARGETS[1], None),  # another translation of nearly the same
        (SOURCES[0].upper(), TARGETS[0].lower(), None),  # the same for a reader
        (SOURCES[0], near_target, None),  # the same source, nearly the same target
    ]
    kept, _, dropped = pairs(tmp_path, rows, near_duplicate_jaccard=0.7, repeated_targets="keep")
    assert why(dropped) == {
        "row-1": ("near_duplicate", "row-0"),
        "row-3": ("exact_duplicate", "row-0"),
        "row-4": ("near_duplicate", "row-0"),
    }
    assert set(kept["group"]) == {"row-0"}


def test_a_chain_of_targets_each_near_the_next_makes_no_duplicate_of_its_ends(tmp_path: Path) -> None:
    words = TARGETS[0].split()
    chain = [" ".join([f"other{number}{at}" for at in range(number)] + words[number:]) for number in range(0, 9, 2)]
    rows = [(SOURCES[0] + "!" * number, target, None) for number, target in enumerate(chain)]
    kept, _, dropped = pairs(tmp_path, rows, near_duplicate_jaccard=0.6, repeated_targets="keep")
    assert set(dropped["reason"]) == {"near_duplicate"}
    assert {"row-0", "row-4"} <= set(kept["row_id"])  # the ends have hardly a word in common


def splits_by_target(kept: pd.DataFrame) -> pd.Series:
    """For each target, by its first words, the number of splits that have it."""
    return kept.groupby(kept["label"].str.lower().str[:30])["split"].nunique()


@pytest.mark.parametrize("repeated_targets", ["keep", "together"])
def test_rows_with_nearly_the_same_target_never_sit_in_two_splits_where_they_are_to_be_together(
    repeated_targets: str, tmp_path: Path
) -> None:
    sources = sentences(200, seed=4)
    rows = [(source, (TARGETS[number % 40], changed(TARGETS[number % 40]))[number % 2], None)
            for number, source in enumerate(sources)]  # fmt: skip
    kept, _, dropped = pairs(tmp_path, rows, repeated_targets=repeated_targets, near_duplicate_jaccard=0.7)
    assert len(dropped) == 0
    assert set(kept["split"]) == set(SPLITS)
    assert (splits_by_target(kept).max() == 1) == (repeated_targets == "together")


def test_of_rows_with_nearly_the_same_target_one_is_kept_where_they_are_to_be_dropped(tmp_path: Path) -> None:
    rows = [(source, target, None) for source, target in zip(SOURCES, [*TARGETS[:20], *map(changed, TARGETS[:20])],
                                                             strict=True)]  # fmt: skip
    kept, report, dropped = pairs(tmp_path, rows, repeated_targets="drop", near_duplicate_jaccard=0.7)
    assert len(kept) == 20
    assert why(dropped)["row-7"] == ("repeated_target", "row-27")  # the smaller id stays
    assert report["dropped_by_reason"]["repeated_target"] == 20


@pytest.mark.parametrize(("repeated_targets", "leaks"), [("keep", 0), ("together", 2), ("drop", 2)])
def test_a_training_row_with_nearly_the_target_of_a_given_test_row_is_a_leak_that_is_counted(
    repeated_targets: str, leaks: int, tmp_path: Path
) -> None:
    rows = [
        (SOURCES[0], TARGETS[0], "test"),
        (SOURCES[1], TARGETS[0], None),
        (SOURCES[2], changed(TARGETS[0]), None),
        (SOURCES[3], TARGETS[3], None),
        (SOURCES[4], TARGETS[0], "test"),  # a given test split stays as it is
    ]
    kept, report, dropped = pairs(tmp_path, rows, repeated_targets=repeated_targets, near_duplicate_jaccard=0.7)
    assert report["dropped_by_reason"]["leaked_target"] == leaks
    assert set(dropped["reason"]) <= {"leaked_target"}
    assert {"row-0", "row-3", "row-4"} <= set(kept["row_id"])
    assert all(repeats == "row-0" for _, repeats in why(dropped).values())


@pytest.mark.parametrize(("repeated_targets", "leaks"), [("keep", 0), ("together", 1)])
def test_a_row_that_is_set_aside_with_nearly_the_target_of_another_is_a_leak(
    repeated_targets: str, leaks: int, tmp_path: Path
) -> None:
    rows = [
        (SOURCES[0], TARGETS[0], None),
        (SOURCES[1], changed(TARGETS[0]), "held_out"),
        (SOURCES[2], TARGETS[2], "held_out"),
        (SOURCES[3], changed(TARGETS[2]), "held_out"),  # those that are set aside may be alike
    ]
    _, report, dropped = pairs(tmp_path, rows, repeated_targets=repeated_targets, near_duplicate_jaccard=0.7)
    assert why(dropped) == dict([("row-1", ("leaked_target", "row-0"))][:leaks])
    assert report["dropped_by_reason"]["leaked_target"] == leaks


def test_the_order_of_rows_changes_nothing(tmp_path: Path) -> None:
    table: list[tuple] = [
        (f"row-{number:02}", SOURCES[number % 30], TARGETS[number % 25], "made", None, None, None)
        for number in range(60)
    ]
    found = [
        run_clean(tmp_path / name, rows, **TO_WRITE, repeated_targets="together")
        for name, rows in (("one", table), ("other", table[::-1]))
    ]
    for one, other in zip(*found, strict=True):
        assert one == other if isinstance(one, dict) else one.equals(other)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("max_target_chars", 100, "null"),
        ("max_length_ratio", 3.0, "null"),
        ("target_languages", ["de"], "null"),
        ("copied_targets", "drop", "keep"),
    ],
)
@pytest.mark.parametrize("task", ["text_classification", "text_generation"])
def test_what_is_about_targets_is_refused_where_no_target_is_written(
    task: str, name: str, value: object, allowed: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf"clean\.{name} is .* Allowed for the task: {allowed}\."):
        cleaned(tmp_path, [(SOURCES[0], "a", None)], task=task, **{name: value})


def test_the_ratio_of_two_lengths_is_that_of_the_longer_to_the_other() -> None:
    found = ratios(np.array([10.0, 2.0, np.nan, 0.0]), np.array([5.0, 6.0, 3.0, 4.0]))
    assert found[[0, 1, 3]].tolist() == [2.0, 3.0, 4.0]
    assert np.isnan(found[2])


def test_what_is_found_of_targets_is_what_a_hand_counts() -> None:
    rows = pd.DataFrame(
        [("a", "A ship!", "a ship"), ("b", "four", "fourfold"), ("c", "xx", "Fourfold."), ("d", "y" * 40, "z" * 10)],
        columns=["row_id", "text", "label"],
    )
    found, examples = targets_of(rows)
    assert found["median_target_chars"] == 8.5  # of 6, 8, 9, 10
    assert found["copied_target_share"] == 0.25
    assert found["repeated_target_share"] == 0.5
    assert found["p95_length_ratio"] == pytest.approx(4.425)  # of 7/6, 2, 4.5, 4
    assert examples["copied_target_share"] == ["a"]
    assert examples["repeated_target_share"] == ["b", "c"]
    assert examples["p95_length_ratio"][:2] == ["c", "d"]
    assert examples["p95_target_chars"][0] == "d"
    assert targets_of(rows.iloc[:0]).found == dict.fromkeys(found, 0.0)


def rows_to_write(count: int = 30) -> pd.DataFrame:
    splits = [("train", "train", "train", "validation", "test")[number % 5] for number in range(count)]
    ids = [f"row-{number:02}" for number in range(count)]
    return pd.DataFrame(
        {"row_id": ids, "text": SOURCES[:count], "label": TARGETS[:count], "origin": ids, "split": splits}
    )


def to_write(**limits: Any) -> Params:
    found = params(**{"min_labels": 1, "max_label_share": None, "warn_only": [], **limits})
    task = found.task.model_copy(update={"name": "text2text_generation", "measure": "chrf"})
    return found.model_copy(update={"task": task})


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"max_copied_target_share": 0.05}, "copied_target_share: found 0.1"),
        ({"max_repeated_target_share": 0.1}, "repeated_target_share: found 0.2"),
        ({"min_median_target_chars": 1000}, "median_target_chars: found"),
        ({"max_p95_target_chars": 20}, "p95_target_chars: found"),
        ({"max_p95_length_ratio": 1.01}, "p95_length_ratio: found"),
    ],
)
def test_targets_beyond_a_limit_are_named_with_their_rows(limits: dict[str, Any], told: str, tmp_path: Path) -> None:
    rows = rows_to_write()
    rows.loc[[0, 5, 10], "label"] = rows.loc[[0, 5, 10], "text"].str.upper()  # copies
    rows.loc[11:16, "label"] = TARGETS[11]
    paths = write(tmp_path, rows, rows)
    validate(to_write(), paths)
    summary = json.loads(paths.validation_report.read_text())
    assert all(result["success"] for result in summary["written_targets"])
    with pytest.raises(ValueError, match=told) as raised:
        validate(to_write(**limits), paths)
    assert "row-" in str(raised.value)
    (limit,) = limits
    assert f"(validate.{limit})" in str(raised.value)


def test_rows_that_were_dropped_for_their_language_are_counted_against_a_limit(tmp_path: Path) -> None:
    rows = rows_to_write()
    dropped = {"row-27": "other_language", "row-28": "other_target_language", "row-29": "too_short"}
    paths = write(tmp_path, rows, rows.iloc[:27], dropped=dropped)
    validate(to_write(max_other_language_share=0.1), paths)
    with pytest.raises(ValueError, match=r"other_language_share: found 0\.06667.*Rows: row-27, row-28") as raised:
        validate(to_write(max_other_language_share=0.05), paths)
    assert "(validate.max_other_language_share)" in str(raised.value)


def test_rows_without_a_target_are_counted_against_a_limit(tmp_path: Path) -> None:
    rows = rows_to_write()
    raw = rows.assign(label=rows["label"].where(rows.index >= 6))
    with pytest.raises(ValueError, match=r"on label: .*row-00.*\(validate\.max_missing_label_share\)"):
        validate(to_write(), write(tmp_path, raw, rows))
