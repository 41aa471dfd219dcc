"""The source `parallel`: files that belong together line by line, with the faults that such files have."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from source_fixtures import settings

from stages.core.contracts import RawRow, RejectedRow
from stages.sources import parallel

SPLITS = {"train": "train", "validation": "val", "test": "test_2016", "transfer": None, "held_out": None}


def folder(path: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path, **changes: Any) -> list[RawRow | RejectedRow]:
    columns = {"text": "en", "label": "de"} | changes.pop("columns", {})
    return list(parallel.read(settings(path, source="parallel", columns=columns, **changes), 0))


def test_a_row_is_the_same_line_of_both_files(tmp_path: Path) -> None:
    folder(tmp_path, {"news.en": "A dog.\nTwo cats.\n", "news.de": "Ein Hund.\nZwei Katzen.\n"})
    assert read(tmp_path) == [
        RawRow("A dog.", "Ein Hund.", "news.en:1"),
        RawRow("Two cats.", "Zwei Katzen.", "news.en:2"),
    ]
    assert read(tmp_path, columns={"text": "de", "label": "en"})[0] == RawRow("Ein Hund.", "A dog.", "news.de:1")


def test_files_are_of_the_splits_that_they_are_named_after(tmp_path: Path) -> None:
    files = {
        f"{stem}.{column}": f"{stem} {column}\n" for stem in ("train", "val", "test_2016") for column in ("en", "de")
    }
    folder(tmp_path, files | {"README.md": "# Both\n", "test_2018.en": "Not named.\n", "test_2018.de": "Auch nicht.\n"})
    assert [(row.text, row.split) for row in read(tmp_path, splits=SPLITS) if isinstance(row, RawRow)] == [
        ("test_2016 en", "test"), ("train en", "train"), ("val en", "validation"),
    ]  # fmt: skip
    only = read(tmp_path, splits=SPLITS, pattern="train.*")
    assert [(row.origin, row.split) for row in only if isinstance(row, RawRow)] == [("train.en:1", None)]


def test_parts_of_a_split_may_be_numbered_or_lie_in_its_folder(tmp_path: Path) -> None:
    names = ("train-00", "train-01", "val/news", "test_2016/news")
    folder(tmp_path, {f"{name}.{column}": f"{name}\n" for name in names for column in ("en", "de")})
    found = {row.origin: row.split for row in read(tmp_path, splits=SPLITS) if isinstance(row, RawRow)}
    assert found == {
        "test_2016/news.en:1": "test",
        "train-00.en:1": "train",
        "train-01.en:1": "train",
        "val/news.en:1": "validation",
    }


def test_endings_of_gzip_and_txt_change_nothing(tmp_path: Path) -> None:
    folder(tmp_path, {"a.en.txt": "One.\n", "a.de.gz": gzip.compress(b"Eins.\n")})
    folder(tmp_path, {"b.en.txt.gz": gzip.compress(b"Two.\n"), "b.de": "Zwei.\n"})
    assert [row[:2] for row in read(tmp_path)] == [("One.", "Eins."), ("Two.", "Zwei.")]


def test_only_a_newline_ends_a_line(tmp_path: Path) -> None:
    """Python's splitlines, and editors, end lines at each of these; the other file then is a line off."""
    odd = "before\u2028after \x0c \x85 \x1c and a lone \r return"
    folder(tmp_path, {"a.en": f"{odd}\nsecond\n", "a.de": "eins\r\nzwei"})
    assert [row[:2] for row in read(tmp_path)] == [(odd, "eins"), ("second", "zwei")]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"a.de": "Eins.\n"}, r"a\.en has 3 lines and .*a\.de has 1 lines"),
        ({"a.de": "1\n2\n3\n4\n5"}, r"a\.en has 3 lines and .*a\.de has 5 lines"),
        ({"a.de": "1\n2\n3\n\n"}, r"a\.en has 3 lines and .*a\.de has 4 lines"),
    ],
)
def test_files_of_unequal_length_are_refused_with_their_lengths(
    tmp_path: Path, more: dict[str, str | bytes], told: str
) -> None:
    folder(tmp_path, {"a.en": "One.\nTwo.\nThree.\n", **more})
    with pytest.raises(ValueError, match=rf"{told}.*Find the line where they part"):
        read(tmp_path)


def test_a_line_that_cannot_be_read_takes_its_row_and_no_other(tmp_path: Path) -> None:
    english = [b"One.", b"Two.\0", b"Three.", b"x" * 2000, *[b"fine"] * 30]
    german = [b"Eins.", b"Zwei.", "Drei mit \xfc.".encode("latin-1"), b"Vier.", *["schön".encode()] * 30]
    folder(tmp_path, {"a.en": b"\n".join(english), "a.de": b"\n".join(german)})
    found = read(tmp_path, max_row_chars=1000)
    rejected = {row.origin: (row.reason, row.detail.split(":")[0]) for row in found if isinstance(row, RejectedRow)}
    assert rejected == {
        "a.en:2": ("nul", "a.en"), "a.en:3": ("not_text", "a.de"), "a.en:4": ("too_long", "a.en"),
    }  # fmt: skip
    assert {row[:2] for row in found[4:]} == {("fine", "schön")}


def test_an_empty_line_is_a_missing_text_or_a_missing_target(tmp_path: Path) -> None:
    folder(tmp_path, {"a.en": "One.\n\n \u200b\nFour.\n", "a.de": "Eins.\nZwei.\nDrei.\n\t\n"})
    assert [row[:2] for row in read(tmp_path)] == [("One.", "Eins."), (None, "Zwei."), (None, "Drei."), ("Four.", None)]


def test_each_file_is_read_in_the_encoding_that_it_announces(tmp_path: Path) -> None:
    folder(tmp_path, {"a.en": "﻿One.\n", "a.de": "Grün.\n".encode("utf-16")})
    assert [row[:2] for row in read(tmp_path)] == [("One.", "Grün.")]
    folder(tmp_path, {"a.de": "Grün.\n".encode("cp1252")})
    with pytest.raises(ValueError, match=r"a\.de, line 1: not UTF-8.*ingest\.encoding.*cp1252 'Grün\.'"):
        read(tmp_path)


def test_one_of_two_files_alone_is_named_as_missing(tmp_path: Path) -> None:
    folder(tmp_path, {"train.en": "One.\n", "train.fr": "Un.\n"})
    with pytest.raises(ValueError, match=r"has train\.en, train\.fr, and no train\.de \(ingest\.columns\.label\)"):
        read(tmp_path)
    told = list(parallel.faults(settings(tmp_path, source="parallel", columns={"text": "en", "label": "de"})))
    assert len(told) == 1
    assert "no train.de" in told[0]


def test_a_folder_without_such_files_is_told_with_what_it_has(tmp_path: Path) -> None:
    folder(tmp_path, {"rows.csv": "text,label\na,b\n"})
    with pytest.raises(FileNotFoundError, match=r"no files that end in \.en and \.de .*Found there: rows\.csv"):
        read(tmp_path)
    with pytest.raises(ValueError, match=r"rows\.csv', a file\. Name the folder"):
        read(tmp_path / "rows.csv")


def test_the_same_lines_twice_are_refused(tmp_path: Path) -> None:
    folder(tmp_path, {"a.en": "One.\n", "a.en.gz": gzip.compress(b"One.\n"), "a.de": "Eins.\n"})
    with pytest.raises(ValueError, match=r"a\.en and a\.en\.gz: the same lines twice\? Keep one"):
        read(tmp_path)


def test_rows_without_targets_need_no_file_of_them(tmp_path: Path) -> None:
    folder(tmp_path, {"train.en": "One.\n", "train.de": "Eins.\n", "more.en": "Two.\n"})
    found = read(tmp_path, splits=SPLITS | {"transfer": "more"})
    assert found == [RawRow("Two.", None, "more.en:1", "transfer"), RawRow("One.", "Eins.", "train.en:1")]


def test_a_text_that_is_its_own_target_is_one_file(tmp_path: Path) -> None:
    folder(tmp_path, {"poems.txt": "A line.\nAnother.\n"})
    found = read(tmp_path, columns={"text": "txt", "label": "txt"})
    assert found == [RawRow("A line.", "A line.", "poems.txt:1"), RawRow("Another.", "Another.", "poems.txt:2")]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"keep_columns": ["site"]}, r"ingest\.keep_columns is 'site'\. Allowed for the source parallel: \[\]"),
        ({"split_column": "fold"}, r"ingest\.split_column is 'fold'\. Allowed for the source parallel: null"),
        ({"columns": {"text_pair": "fr"}}, r"ingest\.columns\.text_pair is 'fr'\. Allowed for .*: null"),
    ],
)
def test_what_lines_of_text_have_nothing_for_is_refused(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read(tmp_path, **changes)
