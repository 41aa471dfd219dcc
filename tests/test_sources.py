"""Where rows come from: docstrings of installed libraries, files with real faults, a folder in the Hub's layout."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages import ingest as ingest_stage
from stages.contracts import RawRow
from stages.params import DocstringsParams, HubParams, IngestParams, Params, load_params
from stages.paths import Paths
from stages.sources import docstrings, files

REPOSITORY = Path(__file__).resolve().parent.parent


def settings(path: Path | str, **changes: object) -> IngestParams:
    values: dict[str, object] = {
        "source": "files",
        "path": str(path),
        "text_column": "text",
        "label_column": "label",
        "keep_columns": [],
        "docstrings": DocstringsParams(
            libraries=["redis", "dulwich"], rows_per_library=40, min_chars=30, max_chars=2000
        ),
        "hub": HubParams(dataset=None, config=None, revision=None),
    }
    return IngestParams.model_validate(values | changes)


def rows_of(path: Path, **changes: object) -> list[RawRow]:
    return list(files.read(settings(path, **changes), 0))


def project_params(ingest: IngestParams) -> Params:
    return load_params(REPOSITORY / "params.yaml").model_copy(update={"ingest": ingest})


# docstrings


SOURCE = b'''"""About widgets.

More of it."""
class Frame:
    """A frame
    of widgets."""
    if True:
        def head(self):
            """The first rows."""
            def inner():
                """Deep inside."""
            return lambda: "no docstring"
    else:
        def head(self):
            """The first rows, otherwise."""
def bare():
    return """no docstring either"""
'''


def test_first_paragraphs_carry_their_qualified_names_and_repeats_a_counter() -> None:
    assert dict(docstrings.paragraphs(SOURCE, "lib/core.py")) == {
        "lib/core.py": "About widgets.",
        "lib/core.py:Frame": "A frame\nof widgets.",
        "lib/core.py:Frame.head": "The first rows.",
        "lib/core.py:Frame.head.inner": "Deep inside.",
        "lib/core.py:Frame.head#2": "The first rows, otherwise.",
    }


@pytest.mark.parametrize(
    ("library", "text", "masked"),
    [
        ("networkx", "A NetworkXError of nx.Graph, not of annex", "A LIBRARYError of LIBRARY.Graph, not of annex"),
        ("sklearn", "scikit-learn, Scikit and SKLEARN_HOME", "LIBRARY, LIBRARY and LIBRARY_HOME"),
        ("great_expectations", "Great Expectations, GreatExpectations, gx", "LIBRARY, LIBRARY, LIBRARY"),
        ("daft", "daft.func is not daftness", "LIBRARY.func is not daftness"),
        ("torch", "PyTorch's torchvision", "LIBRARY's LIBRARYvision"),
    ],
)
def test_a_librarys_own_names_are_masked(library: str, text: str, masked: str) -> None:
    assert docstrings.own_names(library).sub(docstrings.MASK, text) == masked


def test_rows_are_the_same_for_any_number_of_processes_and_hang_on_the_seed() -> None:
    libraries = [docstrings._Library(name, 40, 30, 2000, 20) for name in ("dulwich", "redis")]
    one, two = (list(docstrings._read_all(libraries, workers)) for workers in (1, 2))
    assert one == two
    assert [row.label for row in one] == ["dulwich"] * 40 + ["redis"] * 40
    assert [row.origin for row in one[:40]] == sorted(row.origin for row in one[:40])
    assert all(len(row.text or "") >= 30 and "redis" not in (row.text or "").lower() for row in one[40:])
    assert len({str(row.origin).split(":")[0] for row in one[:40]}) == 40  # dulwich has files enough for one row each
    assert docstrings._draw(docstrings._Library("redis", 40, 30, 2000, 21)).rows != one[40:]


def test_installed_versions_must_be_the_pinned_ones(tmp_path: Path) -> None:
    pins = tmp_path / "pins.txt"
    pinned = (REPOSITORY / "constraints.txt").read_text()
    pins.write_text(pinned)
    docstrings.check_versions(["torch", "sqlalchemy", "sklearn"], pins)  # torch may be installed as 2.13.0+cpu
    pins.write_text(re.sub(r"(?m)^redis==.*$", "redis==1.0.0", pinned))
    with pytest.raises(ValueError, match=r"redis 8\.1\.0 is installed, .*pins 1\.0\.0.*make setup"):
        docstrings.check_versions(["redis"], pins)
    with pytest.raises(ValueError, match=r"'panda', which is not installed\. Did you mean 'pandas'\?"):
        docstrings.check_versions(["panda"], pins)
    pins.write_text("numpy==2.4.6\n")
    with pytest.raises(ValueError, match=r"'redis' \(redis\), which .*pins\.txt does not pin"):
        docstrings.check_versions(["redis"], pins)


# files


def test_words_that_look_missing_stay_texts_and_numbers_become_texts(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\nNA,1\nnull,2\nNone,3\nnan,4\n")
    assert [(row.text, row.label) for row in rows_of(tmp_path / "rows.csv")] == [
        ("NA", "1"), ("null", "2"), ("None", "3"), ("nan", "4"),
    ]  # fmt: skip
    lines = [{"text": "null", "label": 1}, {"text": None, "label": 2.0}, {"text": "NA", "label": True}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert [(row.text, row.label) for row in rows_of(tmp_path / "rows.jsonl")] == [
        ("null", "1"), (None, "2"), ("NA", "true"),
    ]  # fmt: skip


def test_csv_origins_are_the_lines_that_records_start_on(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes('\ufefftext,label\r\n"two\nlines",a\r\n\r\n"é, b",c\r\n'.encode())
    assert rows_of(tmp_path / "rows.csv") == [
        RawRow("two\nlines", "a", "rows.csv:2"),
        RawRow("é, b", "c", "rows.csv:5"),
    ]


def test_a_field_of_five_megabytes_is_read(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(f"text,label\n{'word ' * 1_000_000},a\n")
    assert len(rows_of(tmp_path / "rows.csv")[0].text or "") == 5_000_000


def test_files_named_after_splits_give_splits(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\nx,a\n")
    (tmp_path / "test.jsonl").write_text('\n{"text": "y", "label": "b"}\n')
    pq.write_table(pa.table({"label": [7], "text": ["z"], "more": [0]}), tmp_path / "validation.parquet")
    (tmp_path / "notes.csv").write_text("not,rows\n")
    assert rows_of(tmp_path) == [
        RawRow("x", "a", "train.csv:2", "train"),
        RawRow("z", "7", "validation.parquet:1", "validation"),
        RawRow("y", "b", "test.jsonl:2", "test"),
    ]
    (tmp_path / "test.csv").write_text("text,label\nx,a\n")
    with pytest.raises(ValueError, match=r"more than one file for the split 'test': test\.csv, test\.jsonl"):
        rows_of(tmp_path)


FAULTS: list[tuple[str, bytes, str]] = [
    ("a.csv", b"", r"a\.csv is empty"),
    ("a.csv", b"text,label\n", r"a\.csv has no rows"),
    ("a.csv", b"texts,label\nx,a\n", r"no column 'text' .*Found: texts, label\. Did you mean 'texts'\?"),
    ("a.csv", b"text,label\nx,a\ny,b,c\n", r"a\.csv, line 3: 3 fields, expected 2"),
    ("a.csv", b'text,label\nx,a\n"y,b\n', r"a\.csv, line 3: unexpected end of data"),
    ("a.csv", b"text,label\nx,a\n\0,b\n", r"a\.csv, line 3: byte 15 is NUL"),
    ("a.csv", "text,label\ncafé,a\n".encode("latin-1"), r"a\.csv, line 2: byte 14 \(0xe9\) is not UTF-8"),
    ("a.csv", "text,label\nx,a\n".encode("utf-16"), r"a\.csv, line 1: .*iconv -f UTF-16"),
    ("a.csv", "text,label\nx,é".encode()[:-1], r"a\.csv, line 2: byte 13 \(0xc3\) is not UTF-8"),
    ("a.jsonl", b'{"text": "x", "label": "a"}\n{"text": \n', r"a\.jsonl, line 2: not JSON"),
    ("a.jsonl", b'{"text": "\\ud800", "label": "a"}\n', r"a\.jsonl, line 1: not JSON.*surrogates"),
    ("a.jsonl", b"[1]\n", r"a\.jsonl, line 1: a list"),
    ("a.jsonl", b'{"text": "x", "lable": "a"}\n', r"line 1: no column 'label'.*Did you mean 'lable'\?"),
    ("a.parquet", b"PAR1 cut short", r"a\.parquet is not a whole Parquet file"),
    ("a.txt", b"x", r"\(\.txt\)\. Allowed: \.csv, \.jsonl, \.json, \.parquet, or a folder"),
]


@pytest.mark.parametrize(("name", "content", "message"), FAULTS)
def test_faulty_files_are_refused_with_file_and_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        rows_of(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"ingest\.path is '.*nowhere\.csv'"):
        rows_of(tmp_path / "nowhere.csv")


def test_a_character_on_the_border_of_two_blocks_is_no_fault(tmp_path: Path) -> None:
    head = "text,label\n"
    text = "x" * (files.BLOCK - len(head) - 1) + "é"
    (tmp_path / "rows.csv").write_text(f"{head}{text},a\n", encoding="utf-8")
    assert rows_of(tmp_path / "rows.csv")[0].text == text


# the Hub


def hub_folder(folder: Path) -> Path:
    """Two csv splits and the card that says so, as a dataset's folder on the Hub has them."""
    folder.mkdir()
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: train.csv\n"
        "  - split: test\n    path: test.csv\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n"
        "  - name: label\n    dtype:\n      class_label:\n        names:\n          '0': cat\n          '1': dog\n---\n"
    )
    (folder / "train.csv").write_text("text,label\nNA,0\nnull,1\nbark,1\n")
    (folder / "test.csv").write_text("text,label\nmeow,0\n")
    return folder


def test_a_folder_in_the_hubs_layout_gives_splits_and_names_of_labels(tmp_path: Path) -> None:
    from stages.sources import hub

    folder = hub_folder(tmp_path / "pets")
    assert list(hub.read(settings(folder), 0)) == [
        RawRow("NA", "cat", "train:1", "train"),
        RawRow("null", "dog", "train:2", "train"),
        RawRow("bark", "dog", "train:3", "train"),
        RawRow("meow", "cat", "test:1", "test"),
    ]
    with pytest.raises(ValueError, match=r"no column 'words' \(ingest\.text_column\)\. Found: text, label"):
        list(hub.read(settings(folder, text_column="words"), 0))
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError, match=r"no such folder, and ingest\.hub\.dataset is null"):
        list(hub.read(settings(folder), 0))


def test_without_a_network_the_hub_says_what_to_do() -> None:
    from stages.sources import hub

    pinned = HubParams(dataset="nobody/pets", config=None, revision="0" * 40)
    with pytest.raises(ConnectionError, match=r"hf download nobody/pets .*set ingest\.path") as raised:
        list(hub.read(settings("data", hub=pinned), 0))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.parquet"])
def test_other_columns_are_carried_along_as_texts(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"text": ["x"], "region": ["north"], "label": ["a"], "age": [41], "more": ["not asked for"]})
    write = {"csv": frame.to_csv, "parquet": frame.to_parquet}.get(name.partition(".")[2])
    path = tmp_path / name
    write(path, index=False) if write else frame.to_json(path, orient="records", lines=True)
    (row,) = files.read(settings(path, keep_columns=["region", "age"]), seed=0)
    assert json.loads(row.kept or "") == {"age": "41", "region": "north"}
    with pytest.raises(ValueError, match=r"no column 'regoin' \(ingest\.keep_columns\).*Did you mean 'region'"):
        list(files.read(settings(path, keep_columns=["regoin"]), seed=0))


# the stage


def test_ingest_writes_every_row_with_a_stable_id(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\nx,a\ny,\n")
    paths = Paths(tmp_path / "project")
    ingest_stage.ingest(project_params(settings(tmp_path / "rows.csv")), paths)
    table = pq.read_table(paths.raw)
    assert table.column_names == ["row_id", "text", "label", "origin", "split", "group", "kept"]
    assert table["row_id"].to_pylist()[0] == "04221d7fdb925c2d"  # printf rows.csv:2 | sha256sum
    assert table.to_pylist()[1] | {"row_id": ""} == {
        "row_id": "", "text": "y", "label": "", "origin": "rows.csv:3", "split": None, "group": None,
        "kept": None,
    }  # fmt: skip


def test_ingest_refuses_unknown_sources_and_repeated_origins(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    with pytest.raises(ValueError, match=r"ingest\.source is 'file'\. Allowed: .*Did you mean 'files'\?"):
        ingest_stage.ingest(project_params(settings("x", source="file")), paths)
    with pytest.raises(ValueError, match=r"same origin: here:1 \(2 times\)"):
        ingest_stage._check_origins(["here:1", "here:2", "here:1"])
    assert not paths.raw.exists()
