"""Broken targets of numbers and of sets of labels, as files have them: each told with its place and the next step."""

from __future__ import annotations

import datetime
import decimal
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from source_fixtures import project_params, settings

from stages.core.files import read_json
from stages.core.paths import Paths
from stages.ingest import ingest

RATINGS, TAGS = ("regression", "pearson"), ("multilabel_classification", "micro_f1")


def ingested(path: Path, task: tuple[str, str]) -> tuple[list[Any], list[dict[str, Any]], dict[str, Any]]:
    """The targets of the rows that the stage reads, the rows that it does not, and its report."""
    name, measure = task
    whole, paths = project_params(settings(path)), Paths(path.parent / "project")
    ingest(whole.model_copy(update={"task": whole.task.model_copy(update={"name": name, "measure": measure})}), paths)
    kept, rejected = (pq.read_table(one).to_pylist() for one in (paths.raw, paths.unreadable))
    return [row["label"] for row in kept], rejected, read_json(paths.ingest_report)


def a_table(cell: str, separator: str, before: str, after: str) -> bytes:
    quoted = '"' + cell.replace('"', '""') + '"'
    rows = [("text", "label"), ("the first", before), ("the broken one", quoted), ("the last", after)]
    return "".join(f"{text}{separator}{target}\n" for text, target in rows).encode()


def of_objects(target: str, before: str, after: str) -> bytes:
    return "".join(
        f'{{"text": "row {at}", "label": {one}}}\n' for at, one in enumerate((before, target, after))
    ).encode()


def of_columns(targets: list[Any], kind: pa.DataType | None = None) -> bytes:
    file = io.BytesIO()
    texts = [f"row {at}" for at in range(len(targets))]
    pq.write_table(pa.table({"text": texts, "label": pa.array(targets, kind)}), file)
    return file.getvalue()


def assert_told(
    path: Path, task: tuple[str, str], kept: list[str], place: int, reason: str, says: tuple[str, ...]
) -> None:
    """The broken row is the only one set aside, with its place, and the counts add up."""
    found, rejected, report = ingested(path, task)
    (row,) = rejected
    assert (found, row["origin"], row["reason"]) == (kept, f"{path.name}:{place}", reason)
    assert [part for part in says if part not in row["detail"]] == [], row["detail"]
    assert (report["read"], report["kept"], report["quarantined"]) == (len(kept) + 1, len(kept), 1)
    assert report["quarantined_by_reason"][reason] == 1


POINT = "Write it with a point and nothing between thousands, such as 1234.5"
EMPTY = "Leave the cell empty where there is no number"
ALONE = "Write the number alone, in the same unit in every row"
CELLS_OF_NUMBERS = {
    "a decimal comma": ("3,5", POINT),
    "a decimal comma of Arabic": ("٣٫٥", POINT),
    "a comma between thousands": ("1,234.5", POINT),
    "a point between thousands, and a comma": ("1.234,5", POINT),
    "a blank between thousands": ("1 234", POINT),
    "an apostrophe between thousands": ("1'234", POINT),
    "an underscore, as in code": ("1_000", POINT),
    "a word for what is missing": ("n/a", EMPTY),
    "the text NaN": ("NaN", EMPTY),
    "a dash": ("-", EMPTY),
    "infinity": ("-inf", f"It is too large to be learned. {EMPTY}"),
    "more than a number can be": ("1e400", f"It is too large to be learned. {EMPTY}"),
    "a fraction": ("4/5", "Write the fraction as one number, such as 0.8 for 4/5"),
    "a percentage": ("80%", ALONE),
    "a unit": ("3.5 km", ALONE),
    "a currency": ("$5", ALONE),
    "two points": ("4.5.1", ALONE),
    "a date": ("2024-01-05", "It is a date. Name a column of numbers"),
    "a date of Germany": ("5.1.2024", "It is a date. Name a column of numbers"),
    "a truth": ("TRUE", "Write 1 and 0"),
    "a list": ("[4]", "Write one number a row"),
    "a word": ("four", f"{POINT}. {EMPTY}"),
}


@pytest.mark.parametrize("name", CELLS_OF_NUMBERS)
def test_a_cell_that_is_no_number_is_told_with_what_to_write_and_the_others_are_read(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    cell, step = CELLS_OF_NUMBERS[name]
    (tmp_path / "a.csv").write_bytes(a_table(cell, ",", "1.5", "2"))
    says = (f"the target '{cell}' is no finite number", step) if "'" not in cell else (step,)
    assert_told(tmp_path / "a.csv", RATINGS, ["1.5", "2"], 3, "bad_target", says)
    assert caplog.records[0].getMessage().startswith("ingest: a.csv:3: bad_target: the target ")
    assert caplog.records[-1].getMessage().startswith("ingest: 1 of 3 rows cannot be read: bad_target 1.")


TYPED_NUMBERS: dict[str, tuple[str, bytes, list[str], int, str, str]] = {
    # the file, its bytes, the targets that are left, the place of the broken one, the reason, what is said
    "true in JSON": ("a.jsonl", of_objects("true", "1.5", "2"), ["1.5", "2"], 2, "bad_target", "Write 1 and 0"),
    "a list in JSON": ("a.jsonl", of_objects("[4]", "1.5", "2"), ["1.5", "2"], 2, "wrong_type", "holds an array"),
    "an object in JSON": ("a.jsonl", of_objects('{"v": 4}', "1.5", "2"), ["1.5", "2"], 2, "wrong_type", "an object"),
    "1e400 in JSON": ("a.jsonl", of_objects("1e400", "1.5", "2"), ["1.5", "2"], 2, "bad_target", "too large"),
    "Infinity in JSON": ("a.jsonl", of_objects("Infinity", "1.5", "2"), ["1.5", "2"], 2, "bad_target", "too large"),
    "a text with a comma in JSON": ("a.jsonl", of_objects('"4,5"', "1.5", "2"), ["1.5", "2"], 2, "bad_target", POINT),
    "a leading plus in JSON": ("a.jsonl", of_objects("+4", "1.5", "2"), ["1.5", "2"], 2, "not_json", "not JSON"),
    "infinity in Parquet": ("a.parquet", of_columns([1.5, float("inf"), 2.0]), ["1.5", "2"], 2, "bad_target", "large"),
    "a unit in tsv": ("a.tsv", a_table("5 stars", "\t", "1.5", "2"), ["1.5", "2"], 3, "bad_target", ALONE),
    "more cells than columns": ("a.csv", b"text,label\nx,1\ny,3,5\nz,2\n", ["1", "2"], 3, "ragged", "double quotes"),
}  # fmt: skip


@pytest.mark.parametrize("name", TYPED_NUMBERS)
def test_a_typed_value_that_is_no_number_is_told_with_its_place(tmp_path: Path, name: str) -> None:
    file, content, kept, place, reason, says = TYPED_NUMBERS[name]
    (tmp_path / file).write_bytes(content)
    assert_told(tmp_path / file, RATINGS, kept, place, reason, (says,))


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("+4.50", "4.5"), (" 4.5 ", "4.5"), ("\u00a04.5", "4.5"), ("٣", "3"), ("４.５", "4.5"), ("−3", "-3"),
        ("1e-3", "0.001"), (".5", "0.5"), ("", None), ("\u200b", None),
    ],
)  # fmt: skip
def test_a_number_that_can_be_meant_in_one_way_is_read_and_a_blank_is_none(
    tmp_path: Path, cell: str, number: str | None
) -> None:
    (tmp_path / "a.csv").write_bytes(a_table(cell, ",", "1.5", "2"))
    found, rejected, report = ingested(tmp_path / "a.csv", RATINGS)
    assert (found, rejected, report["kept"]) == (["1.5", number, "2"], [], 3)


def test_numbers_of_typed_files_are_read_and_nan_and_null_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(of_columns([1.5, float("nan"), None, -0.0]))
    assert ingested(tmp_path / "a.parquet", RATINGS)[0] == ["1.5", None, None, "0"]
    (tmp_path / "b.parquet").write_bytes(of_columns([decimal.Decimal("3.50"), decimal.Decimal("1.25")]))
    assert ingested(tmp_path / "b.parquet", RATINGS)[0] == ["3.5", "1.25"]
    (tmp_path / "c.jsonl").write_bytes(of_objects("NaN", '"4"', "null"))
    assert ingested(tmp_path / "c.jsonl", RATINGS)[0] == ["4", None, None]


@pytest.mark.parametrize("column", [[True, False], [datetime.date(2024, 1, 5), datetime.date(2024, 1, 6)]])
def test_a_column_without_a_single_number_leaves_nothing_and_says_how_many_rows_it_has(
    tmp_path: Path, column: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.parquet").write_bytes(of_columns(column))
    with pytest.raises(ValueError, match=r"gave no rows, and 2 that cannot be read\. Check the section ingest"):
        ingested(tmp_path / "a.parquet", RATINGS)
    assert caplog.records[0].getMessage().startswith("ingest: a.parquet:1: bad_target: the target ")
    assert not list(Paths(tmp_path / "project").raw.parent.iterdir())


ALLOWED = 'Allowed: a list of texts, such as ["sports", "politics"]; or a cell with ; or | between; [] for no label'
NO_LABEL = "in the target is no label: a text that is not blank"
CELLS_OF_TAGS = {
    "single quotes, as Python prints them": ("['sea', 'land']", "is no JSON: its texts must be in double quotes"),
    "no quotes": ("[sea, land]", "is no JSON: its texts must be in double quotes"),
    "a bracket that is not closed": ('["sea", "land"', "is no JSON: Expecting ',' delimiter, at character 14"),
    "a bracket too many": ('["sea"]]', "is no JSON: Extra data, at character 7"),
    "two lists": ('["sea"], ["land"]', "is no JSON: Extra data, at character 7"),
    "a comma at the end": ('["sea",]', "is no JSON: "),
    "a list in the list": ('["sea", ["land"]]', f'["land"] {NO_LABEL}'),
    "an empty list in the list": ("[[]]", f"[] {NO_LABEL}"),
    "lists in lists without end": ("[" * 100_000, "has lists in lists"),
    "a number among labels": ('["sea", 3]', f"3 {NO_LABEL}"),
    "a truth among labels": ('["sea", true]', f"true {NO_LABEL}"),
    "null among labels": ('["sea", null]', f"null {NO_LABEL}"),
    "an object among labels": ('[{"name": "sea"}]', f'{{"name": "sea"}} {NO_LABEL}'),
    "an empty label": ('["sea", ""]', f'"" {NO_LABEL}'),
    "a label that shows nothing": ('["sea", "\u200b"]', NO_LABEL),
    "an object of truths": ('{"sea": true, "land": false}', "is no list"),
    "an empty object": ("{}", "is no list"),
    "nothing but separators": (" ; | ", "has no label between its separators"),
}


@pytest.mark.parametrize("name", CELLS_OF_TAGS)
def test_a_cell_that_is_no_set_of_labels_is_told_with_what_is_allowed_and_the_others_are_read(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    cell, fault = CELLS_OF_TAGS[name]
    (tmp_path / "a.csv").write_bytes(a_table(cell, ",", "sea", "land;sea"))
    assert_told(tmp_path / "a.csv", TAGS, ['["sea"]', '["land","sea"]'], 3, "bad_target", (fault, ALLOWED))
    assert caplog.records[-1].getMessage().startswith("ingest: 1 of 3 rows cannot be read: bad_target 1.")


SEA, LAND = '["sea"]', '["land"]'
TYPED_TAGS: dict[str, tuple[str, bytes, str, tuple[str, ...]]] = {
    "a number in JSON's list": ("a.jsonl", of_objects('["sea", 3]', SEA, LAND), "bad_target", (f"3 {NO_LABEL}",)),
    "a nested list in JSON": ("a.jsonl", of_objects('["sea", ["x"]]', SEA, LAND), "bad_target", (f'["x"] {NO_LABEL}',)),
    "an object in JSON": ("a.jsonl", of_objects('{"sea": 1}', SEA, LAND), "bad_target", ("is no list",)),
    "a list as a text in JSON": ("a.jsonl", of_objects('"[\\"sea\\""', SEA, LAND), "bad_target", ("is no JSON",)),
    "a bracket not closed in JSON": ("a.jsonl", of_objects('["sea"', SEA, LAND), "not_json", ("Each line must",)),
    "NUL in a label": ("a.jsonl", of_objects('["s\\u0000a"]', SEA, LAND), "nul", ("a NUL byte", "tr -d")),
    "null in Parquet's list": ("a.parquet", of_columns([["sea"], ["x", None], ["land"]]), "bad_target", ("null",)),
}  # fmt: skip


@pytest.mark.parametrize("name", TYPED_TAGS)
def test_a_typed_value_that_is_no_set_of_labels_is_told_with_its_place(tmp_path: Path, name: str) -> None:
    file, content, reason, says = TYPED_TAGS[name]
    (tmp_path / file).write_bytes(content)
    assert_told(tmp_path / file, TAGS, [SEA, LAND], 2, reason, says)


@pytest.mark.parametrize(
    ("cell", "target"),
    [
        ('["sea", "sea"]', ["sea"]), ("sea;;land; ", ["land", "sea"]), ('[" sea", "sea\u200b"]', ["sea"]),
        ("[]", []), ("sea, land", ["sea, land"]), ("null", ["null"]), ("3", ["3"]), ("", None),
    ],
)  # fmt: skip
def test_labels_twice_are_one_and_a_comma_is_part_of_a_label(
    tmp_path: Path, cell: str, target: list[str] | None
) -> None:
    (tmp_path / "a.tsv").write_bytes(a_table(cell, "\t", "sea", "land"))
    found, rejected, _ = ingested(tmp_path / "a.tsv", TAGS)
    wanted = None if target is None else json.dumps(target, separators=(",", ":"))
    assert (found, rejected) == ([SEA, wanted, LAND], [])


def test_parquet_of_numbers_or_of_nested_lists_is_told_row_by_row_and_empty_sets_are_kept(tmp_path: Path) -> None:
    for column in ([[1], [], [2]], [[["sea"]], [], [["land"]]]):
        (tmp_path / "a.parquet").write_bytes(of_columns(column))
        found, rejected, report = ingested(tmp_path / "a.parquet", TAGS)
        assert (found, [row["origin"] for row in rejected]) == (["[]"], ["a.parquet:1", "a.parquet:3"])
        assert (report["read"], report["quarantined_by_reason"]["bad_target"]) == (3, 2)
