"""Labels: one form for those that look the same, whatever source they come from; those that are alike are named."""

from __future__ import annotations

import json
import logging
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from source_fixtures import project_params, settings

from stages.core.contracts import as_label, as_labels
from stages.core.paths import Paths
from stages.ingest import ingest
from stages.tasks.text_classification.data import DATA


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("pos", "pos"),
        ("pos ", "pos"),
        (" \tpos\u00a0\u3000", "pos"),
        ("very \u00a0 good", "very good"),
        ("cafe\u0301", "caf\u00e9"),
        ("cafe\u034f\u0301", "caf\u00e9"),
        ("p\u200bo\u2060s\ufeff\u00ad", "pos"),
        ("\u202apos\u202c", "pos"),
        ("pos\u0007", "pos"),
        ("\u2764\ufe0f", "\u2764"),
        ("a, b", "a, b"),
        ("\u200b \u00a0", None),
        ("", None),
        (None, None),
    ],
)
def test_what_nobody_sees_makes_no_label(written: str | None, label: str | None) -> None:
    assert as_label(written) == label


@pytest.mark.parametrize(
    "label",
    [
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, where the joiner ends a letter's connection
        "\u0915\u094d\u200d\u0937",  # Hindi, where it asks for half a letter
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",  # a family, one picture of three
        "\U0001f468\U0001f3fd\u200d\u2695",  # a doctor with a skin colour
        "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # the flag of Scotland
    ],
)
def test_joiners_and_tags_that_are_seen_stay_in_a_label_where_they_belong(label: str) -> None:
    assert as_label(label) == label
    assert as_label(f"\u200d{label}\u200d") == label
    assert as_label("ab\u200cc") == "abc"


def test_a_label_under_windows_controls_is_the_label() -> None:
    assert as_label("it\x92s") == as_label("it\u2019s") == "it\u2019s"


def test_the_form_of_a_label_is_its_own_form() -> None:
    draw = random.Random(5)
    signs = (
        "ab \u00a0\u0301\u0327\u200b\u200c\u200d\u034f\u0645\u094d\ufe0f\U0001f468\U0001f3f4\U000e0067\U000e007f\u115f"
        "\u180e\u1100\u1160\u1161\uac00\x92"
    )
    for _ in range(3_000):
        label = as_label("".join(draw.choices(signs, k=draw.randint(0, 8))))
        assert as_label(label) == label


def written_as(folder: Path, labels: list[str]) -> tuple[list[str | None], int]:
    """The labels that `ingest` writes for a csv with these, and how many it says that it wrote otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(f'"a text of row {at}","{label}"\n' for at, label in enumerate(labels))
    (folder / "rows.csv").write_text(f"text,label\n{lines}", encoding="utf-8")
    paths = Paths(folder / "project")
    ingest(project_params(settings(folder / "rows.csv")), paths)
    report = json.loads(paths.ingest_report.read_text())
    return pq.read_table(paths.raw)["label"].to_pylist(), report["labels_rewritten"]


def test_a_row_whose_number_is_written_otherwise_twice_is_counted_once(tmp_path: Path) -> None:
    assert written_as(tmp_path / "numbers", [" 1.0", "2.0 ", "3", "4.0"]) == (["1", "2", "3", "4"], 3)
    assert written_as(tmp_path / "names", [" 1.0", "2.0 ", "a"]) == (["1.0", "2.0", "a"], 2)


def test_a_label_is_its_own_only_class_and_any_change_of_its_text_leaves_it() -> None:
    assert DATA.kinds("a, b") == ("a, b",)
    assert DATA.carried("pos", "good!", "good") == "pos"
    assert (DATA.exclusive, DATA.structured) == (True, frozenset())


def test_labels_that_look_the_same_are_one_and_the_rows_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = ["pos", "pos ", "caf\u00e9", "cafe\u0301", "neg\u00a0", "neg"]
    with caplog.at_level(logging.WARNING, logger="winnow"):
        assert written_as(tmp_path, labels) == (["pos", "pos", "caf\u00e9", "caf\u00e9", "neg", "neg"], 3)
    assert caplog.messages == [
        "ingest: 3 rows have labels that are written in one form here, such as 'pos ' is 'pos', "
        r"'cafe\u0301' is 'caf\xe9', 'neg\xa0' is 'neg'."
    ]


def test_whole_numbers_are_one_label_with_and_without_a_point_where_all_labels_are_numbers(tmp_path: Path) -> None:
    assert written_as(tmp_path / "all", ["1", "1.0", "", "2.50", "-3.00"]) == (["1", "1", None, "2.50", "-3"], 2)
    assert written_as(tmp_path / "some", ["1", "1.0", "v2"]) == (["1", "1.0", "v2"], 0)
    assert as_labels(["1.0", "2.0 "]) == ["1", "2"]
    assert as_labels(["1.0", "other"]) == ["1.0", "other"]


def test_a_file_of_numbers_that_is_rewritten_has_the_bytes_of_one_that_had_them_so(tmp_path: Path) -> None:
    written_as(tmp_path / "one", ["1.0", "2.0"] * 40)
    written_as(tmp_path / "two", ["1", "2"] * 40)
    one, two = (Paths(tmp_path / name / "project").raw for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert [file.name for file in one.parent.iterdir()] == [file.name for file in two.parent.iterdir()]
