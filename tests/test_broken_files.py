"""Broken files, as a new user would have them: each ends in a message that says where, what, and what to do next."""

from __future__ import annotations

import gzip
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import REPOSITORY, edit_params, run
from source_fixtures import project_params, settings

from stages.core.paths import Paths
from stages.ingest import ingest

GOOD = b"text,label\n" + b"".join(b"row %d is good,a\n" % at for at in range(100))
OBJECTS = b"".join(b'{"text": "row %d", "label": "a"}\n' % at for at in range(100))


def parquet(**columns: list[object]) -> bytes:
    file = io.BytesIO()
    pd.DataFrame(columns).to_parquet(file)
    return file.getvalue()


class Broken(NamedTuple):
    """What is wrong, the file, its bytes, parameters that are not the usual ones; what the message says."""

    name: str
    file: str
    content: bytes
    says: tuple[str, ...]
    """Where (file, line or column), what was found, and the next step."""
    changes: dict[str, object] = {}  # noqa: RUF012


WHOLE_FILES = [
    Broken("empty", "a.csv", b"", ("a.csv is empty (0 bytes)", "Check that it was written")),
    Broken("only a header", "a.csv", b"text,label\n", ("a.csv has no rows", "Check that it was written to the end")),
    Broken("only blank lines", "a.jsonl", b"\n\n\n", ("a.jsonl has no rows", "or remove it")),
    Broken(
        "a column renamed in csv",
        "a.csv",
        GOOD.replace(b"text", b"texts"),
        ("a.csv: no column 'text' (ingest.columns.text)", "Found: texts, label", "mean 'texts'?", "Set ingest.col"),
    ),
    Broken(
        "a column renamed in jsonl",
        "a.jsonl",
        OBJECTS.replace(b"label", b"lable"),
        ("a.jsonl", "line 1", "no column 'label'", "mean 'lable'?", "Set ingest.columns.label"),
    ),
    Broken(
        "a column renamed in parquet",
        "a.parquet",
        parquet(texts=["x"], label=["a"]),
        ("a.parquet: no column 'text'", "Found: texts, label", "Set ingest.columns.text"),
    ),
    Broken(
        "a split column that is not there",
        "a.csv",
        GOOD,
        ("a.csv: no column 'split' (ingest.split_column)", "Set ingest.split_column"),
        {"split_column": "split"},
    ),
    Broken(
        "a split that nobody knows",
        "a.csv",
        b"text,label,split\nx,a,train\ny,a,holdout\n",
        ("a.csv, line 3: the column 'split'", "is 'holdout'", "Allowed: train, validation, test", "ingest.splits"),
        {"split_column": "split"},
    ),
    Broken(
        "a column twice", "a.csv", b"text,text,label\nx,y,a\n", ("a.csv: the column 'text'", "more than once. Rename")
    ),
    Broken("no header", "a.csv", GOOD.partition(b"\n")[2], ("a.csv: no column 'text'", "Found: row 0 is good, a")),
    Broken(
        "a header with a quote left open",
        "a.csv",
        b'"text,label\nx,a\n',
        ("a.csv, line 1: the header cannot be read", "Mend that line"),
    ),
    Broken(
        "Latin-1",
        "a.csv",
        "text,label\nJ'ai dîné près de là,a\n".encode("latin-1"),
        ("a.csv, line 2: not UTF-8", "Set ingest.encoding", "cp1252 'J'ai dîné près de là,a'"),
    ),
    Broken(
        "UTF-16 without its mark",
        "a.csv",
        GOOD.decode().encode("utf-16-le"),
        ("a.csv is full of NUL bytes", "set ingest.encoding to utf-16-le"),
    ),
    Broken(
        "UTF-16 called UTF-8",
        "a.csv",
        GOOD.decode().encode("utf-16"),
        ("a.csv, line 1: the header cannot be read", "ingest.encoding"),
        {"encoding": "utf-8"},
    ),
    Broken("gzip cut short", "a.csv.gz", gzip.compress(GOOD)[:-20], ("a.csv.gz is not a whole gzip", "gzip -t")),
    Broken("gzip that is none", "a.csv.gz", GOOD, ("a.csv.gz is not a whole gzip file", "take .gz off its name")),
    Broken("gzip under a plain name", "a.csv", gzip.compress(GOOD), ("a.csv is gzipped. End its name in .gz",)),
    Broken("a spreadsheet", "a.csv", b"PK\3\4...", ("a.csv is a zip archive or a spreadsheet", "Save its rows as csv")),
    Broken("Parquet under csv's name", "a.csv", parquet(text=["x"]), ("a.csv is Parquet", "End its name in .parquet")),
    Broken(
        "Parquet cut short",
        "a.parquet",
        parquet(text=["x"] * 99, label=["a"] * 99)[:-30],
        ("a.parquet is not a whole Parquet file", "Write or fetch it again"),
    ),
    Broken("csv under Parquet's name", "a.parquet", GOOD, ("a.parquet is not a whole Parquet file", "again")),
    Broken(
        "Parquet damaged inside",
        "a.parquet",
        (lambda whole: whole[:40] + b"\xff" * 60 + whole[100:])(
            parquet(text=[f"row {at * at}" for at in range(999)], label=["a"] * 999)
        ),
        ("a.parquet is not a whole Parquet file", "Write or fetch it again"),
    ),
    Broken(
        "Parquet of lists",
        "a.parquet",
        parquet(text=[["x", "y"]], label=["a"]),
        ("a.parquet: none of its rows can be read", "line 1", "the column 'text'", "an array", "Name another column"),
    ),
    Broken(
        "one array of all objects",
        "a.json",
        b'[{"text": "x", "label": "a"}]',
        ("a.json, line 1: the file is one JSON array", "expected an object a line", "jq -c '.[]'", ".jsonl"),
    ),
    Broken(
        "an array, an object of it a line",
        "a.json",
        b'[\n{"text": "x", "label": "a"},\n{"text": "y", "label": "a"}\n]\n',
        ("a.json, line 1: the file is one JSON array", "Write it so"),
    ),
    Broken(
        "a pattern for a file",
        "a.csv",
        GOOD,
        ("ingest.pattern is '*.csv', and ingest.path is", "a file. Allowed with a file: null"),
        {"pattern": "*.csv"},
    ),
    Broken(
        "objects over several lines",
        "a.json",
        b'{\n  "text": "x",\n  "label": "a"\n}\n',
        ("a.json: none of its rows can be read", "line 1: not JSON", "Each line must be one object"),
    ),
    Broken("csv under JSON's name", "a.jsonl", GOOD, ("a.jsonl: none of its rows", "line 1: not JSON", "Each line")),
    Broken("all rows ragged", "a.csv", b"text,label\nx,y,z\n", ("none of its rows", "line 2: 3 fields", "quotes")),
    Broken("another kind of file", "a.xlsx", b"PK", ("ingest.path is", "(.xlsx)", "Allowed: a file that ends in .csv")),
    Broken("no ending", "a", GOOD, ("(no ending)", "Allowed: a file that ends in .csv")),
]  # fmt: skip

SINGLE_ROWS = [
    Broken("ragged", "a.csv", GOOD + b"x,y,z\n", ("a.csv:102: ragged: 3 fields, expected 2", "double quotes")),
    Broken("too few", "a.tsv", GOOD.replace(b",", b"\t") + b"x\n", ("a.tsv:102: ragged: 1 fields, expected 2", "Put")),
    Broken("NUL", "a.csv", GOOD + b"x\0,a\n", ("a.csv:102: nul: a NUL byte", "take it out: tr -d")),
    Broken("a bad byte", "a.csv", GOOD + b"caf\xe9,a\n", ("a.csv:102: not_text: byte 0xe9", "ingest.encoding")),
    Broken("open quote", "a.csv", GOOD + b'"x,a\n', ("a.csv:102: bad_quotes: a quote that opens here", "Double the")),
    Broken("5 MB", "a.csv", GOOD + b"x" * 5_000_000 + b",a\n", ("a.csv:102: too_long: 5,000,", "ingest.max_row_chars")),
    Broken("half a line", "a.jsonl", OBJECTS + b'{"text": "x', ("a.jsonl:101: not_json: not JSON", "Each line must")),
    Broken("a number", "a.jsonl", OBJECTS + b"17\n", ("a.jsonl:101: not_an_object: a number", "Each line must")),
    Broken("no label", "a.jsonl", OBJECTS + b'{"text": "x"}\n', ("a.jsonl:101: missing_column", "Set ingest.columns")),
    Broken(
        "an array as text",
        "a.jsonl",
        OBJECTS + b'{"text": ["x"], "label": "a"}\n',
        ("a.jsonl:101: wrong_type: the column 'text'", "an array, expected a text"),
    ),
]  # fmt: skip


@pytest.mark.parametrize("broken", WHOLE_FILES, ids=lambda broken: broken.name)
def test_a_file_that_cannot_be_read_is_named_with_the_next_step_and_leaves_nothing(
    tmp_path: Path, broken: Broken
) -> None:
    (tmp_path / broken.file).write_bytes(broken.content)
    paths = Paths(tmp_path / "project")
    with pytest.raises(ValueError, match=r"\.$") as raised:
        ingest(project_params(settings(tmp_path / broken.file, **broken.changes)), paths)
    message = str(raised.value)
    assert [part for part in broken.says if part not in message] == [], message
    assert "\n" not in message
    assert not list(paths.raw.parent.iterdir())


@pytest.mark.parametrize("broken", SINGLE_ROWS, ids=lambda broken: broken.name)
def test_a_row_that_cannot_be_read_is_named_with_the_next_step_and_the_others_are_read(
    tmp_path: Path, broken: Broken, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / broken.file).write_bytes(broken.content)
    paths = Paths(tmp_path / "project")
    ingest(project_params(settings(tmp_path / broken.file)), paths)
    first, total = (record.getMessage() for record in caplog.records)
    assert [part for part in broken.says if part not in first] == [], first
    assert total.startswith("ingest: 1 of 101 rows cannot be read: ")
    assert pq.read_table(paths.raw).num_rows == 100
    assert pq.read_table(paths.unreadable).num_rows == 1


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `python -m stages.ingest` needs."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copyfile(REPOSITORY / "params.yaml", folder / "params.yaml")
    (folder / "data").mkdir()
    return folder


def remove_column(project: Path) -> None:
    (project / "data/rows.csv").write_bytes(GOOD.replace(b"label", b"stars"))


def cut_gzip(project: Path) -> None:
    (project / "data/rows.csv.gz").write_bytes(gzip.compress(GOOD)[:-20])
    (project / "data/rows.csv").unlink(missing_ok=True)
    edit_params(project, ingest__path="data/rows.csv.gz")


def name_nowhere(project: Path) -> None:
    edit_params(project, ingest__path="data/none.csv")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove_column, "ingest: data/rows.csv: no column 'label' (ingest.columns.label). Found: text, stars. "
         "Set ingest.columns.label in params.yaml, or, of text without labels, ingest.splits.transfer.\n"),
        (cut_gzip, "ingest: data/rows.csv.gz is not a whole gzip file: Compressed file ended before the end-of-stream "
         "marker was reached. Check it with `gzip -t`; write or fetch it again, or take .gz off its name where it is "
         "not gzipped.\n"),
        (name_nowhere, "ingest: params.yaml: ingest.path is 'data/none.csv': no such file or folder. Put your data "
         "there.\n"),
    ],
)  # fmt: skip
def test_the_command_says_it_in_one_line_without_a_traceback(
    project: Path, spoil: Callable[[Path], None], message: str
) -> None:
    edit_params(project, ingest__source="files", ingest__path="data/rows.csv")
    spoil(project)
    done = run(project, "python", "-m", "stages.ingest", check=False, PYTHONPATH=str(REPOSITORY))
    assert (done.returncode, done.stderr, done.stdout) == (1, message, "")
