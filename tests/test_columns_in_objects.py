"""Columns inside objects, as datasets of translations have them: {"translation": {"en": ..., "de": ...}}."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from source_fixtures import kept, read, rejected, settings

from stages.core.contracts import RawRow
from stages.sources import hub

INSIDE = {"text": "translation.en", "label": "translation.de"}
ROWS: list[dict[str, Any]] = [
    {"translation": {"en": "A dog.", "de": "Ein Hund."}},
    {"translation": {"en": "Two cats.", "de": None}},
]


def write(path: Path, rows: list[Any]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_name_with_a_dot_is_a_value_of_objects_in_a_column(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"rows.{ending}", [*ROWS, {"translation": None}])
    assert [(row.text, row.label) for row in kept(path, columns=INSIDE)] == [
        ("A dog.", "Ein Hund."), ("Two cats.", None), (None, None),
    ]  # fmt: skip


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_column_that_has_the_whole_name_comes_first(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"rows.{ending}", [{**ROWS[0], "translation.en": "Itself."}])
    assert [(row.text, row.label) for row in kept(path, columns=INSIDE)] == [("Itself.", "Ein Hund.")]


def test_a_row_without_the_value_is_rejected_where_rows_name_their_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [*ROWS, {"translation": {"en": "Three."}}, {"translation": "Four."}])
    assert rejected(path, columns=INSIDE) == {"rows.jsonl:3": "missing_column", "rows.jsonl:4": "missing_column"}


def test_a_typed_table_without_the_value_is_refused_as_a_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", ROWS)
    for name in ("translation.fr", "translation.en.x", "translations.en"):
        with pytest.raises(ValueError, match=rf"no column '{name}' \(ingest\.columns\.text\)\. Found: translation"):
            read(path, columns={**INSIDE, "text": name})


def test_a_dataset_of_the_hub_has_such_columns_too(tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    write(tmp_path / "pairs" / "train.jsonl", ROWS)
    assert list(hub.read(settings(tmp_path / "pairs", columns=INSIDE), 0)) == [
        RawRow("A dog.", "Ein Hund.", "train:1"),
        RawRow("Two cats.", None, "train:2"),
    ]
    with pytest.raises(ValueError, match=r"no column 'translation\.fr' \(ingest\.columns\.label\)"):
        list(hub.read(settings(tmp_path / "pairs", columns={**INSIDE, "label": "translation.fr"}), 0))
