"""A project with a model of two words, training rows and rows without a label, in which `winnow label` is asked."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from flow_fixtures import ROOT, write_word_model
from predict_fixtures import Said

from flows.cli.commands import main
from stages.core.paths import Paths

UNLABELLED = (
    "bread ship near the old harbour wall", "ship bread in a small kitchen", "a slow bright morning with nothing said",
    "bread and butter for dinner", "ship at anchor by the island", "bread bread bread again",
    "=bread & ship, a formula", "the ship and the bread, said twice", "the ship and the bread said  twice!",
    "bread, written by a baker", "nothing of either kind", "some text about clouds and rain",
)  # fmt: skip


def write_project(
    root: Path, training: Sequence[tuple[str, str]], unlabelled: Sequence[str] = UNLABELLED, **changes: Any
) -> Paths:
    """A project at `root`; `changes` are parameters, as ingest__path."""
    paths = Paths(root)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["ingest"] |= {"source": "files", "path": "data/reviews.csv"}
    for name, value in changes.items():
        *sections, key = name.split("__")
        section = params
        for part in sections:
            section = section[part]
        section[key] = value
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.copy(ROOT / "dvc.yaml", root)
    rows = [
        {"row_id": f"r{at}", "text": text, "label": label, "origin": f"reviews.csv:{at + 2}", "split": "train",
         "group": f"g{at}", "kept": None}
        for at, (text, label) in enumerate(training)
    ] + [
        {"row_id": f"u{at}", "text": text, "label": None, "origin": f"more.csv:{at + 2}", "split": "transfer",
         "group": f"u{at}", "kept": None}
        for at, text in enumerate(unlabelled)
    ]  # fmt: skip
    paths.clean.parent.mkdir(parents=True)
    texts = pa.schema([(name, pa.large_string()) for name in rows[0]])
    pq.write_table(pa.Table.from_pylist(rows, texts), paths.clean)
    raw = pa.schema([(name, pa.large_string()) for name in ("row_id", "text", "label", "origin", "kept")])
    pq.write_table(pa.Table.from_pylist([{name: row[name] for name in raw.names} for row in rows], raw), paths.raw)
    empty = pa.schema([(name, pa.large_string()) for name in ("row_id", "text", "label", "origin", "reason")])
    pq.write_table(empty.empty_table(), paths.quarantine)
    write_word_model(paths.model("quantized"))
    return paths


TRAINING = (
    ("bread with butter on a plate", "kitchen"), ("the ship is in the harbour", "sea"),
    ("bread, written by a baker", "kitchen"),
    ("a ship on the waves", "sea"),
)  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """The project, in which this process works."""
    paths = write_project(tmp_path / "project", TRAINING)
    monkeypatch.chdir(paths.root)
    return paths


def labelled(capsys: pytest.CaptureFixture[str], *arguments: str) -> Said:
    """What `winnow label` leaves."""
    with pytest.raises(SystemExit) as ended:
        main(["label", *arguments])
    said = capsys.readouterr()
    return Said(ended.value.code or 0, said.out, said.err.splitlines())


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: Sequence[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
