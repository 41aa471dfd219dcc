"""Where rows come from: docstrings of installed libraries, files with real faults, a folder in the Hub's layout."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import REPOSITORY
from source_fixtures import project_params, settings

from stages import ingest as ingest_stage
from stages.core.contracts import RawRow, RejectedRow
from stages.core.files import GROUP_ROWS, ParquetRows, write_parquet
from stages.core.params.ingest import HubParams, SplitNames
from stages.core.paths import Paths
from stages.reading import libraries
from stages.reading.libraries import Library
from stages.sources import docstrings

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
    assert {origin: libraries.paragraphs(text)[0] for origin, text in libraries.docstrings(SOURCE, "lib/core.py")} == {
        "lib/core.py": "About widgets.",
        "lib/core.py:Frame": "A frame\nof widgets.",
        "lib/core.py:Frame.head": "The first rows.",
        "lib/core.py:Frame.head.inner": "Deep inside.",
        "lib/core.py:Frame.head#2": "The first rows, otherwise.",
    }


def test_a_row_is_the_first_paragraph_of_a_docstring_with_its_librarys_names_masked() -> None:
    library = Library("widgets", 9, 1, 99, 0, docstrings.first_paragraphs)
    rows = docstrings.first_paragraphs(SOURCE, "widgets/core.py", library)
    assert {row.origin: row.text for row in rows}["widgets/core.py"] == "About LIBRARY."
    assert {(row.label, row.group) for row in rows} == {("widgets", "widgets/core.py")}
    assert len(rows) == 5


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
    some = [Library(name, 40, 30, 2000, 20, docstrings.first_paragraphs) for name in ("dulwich", "redis")]
    one, two = (list(libraries.read_all(some, workers)) for workers in (1, 2))
    assert one == two
    assert [row.label for row in one] == ["dulwich"] * 40 + ["redis"] * 40
    assert [row.origin for row in one[:40]] == sorted(row.origin for row in one[:40])
    assert all(len(row.text or "") >= 30 and "redis" not in (row.text or "").lower() for row in one[40:])
    assert len({str(row.origin).split(":")[0] for row in one[:40]}) == 40  # dulwich has files enough for one row each
    assert libraries.draw(some[1]._replace(seed=21)).rows != one[40:]


def test_files_that_one_pythons_wheel_lacks_give_no_rows_on_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("core.py", "distutils/log.py", "distutils/command/build.py", "distutils_too.py"):
        file = tmp_path / "numpy" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('"""About it."""\n')
    spec = importlib.machinery.ModuleSpec("numpy", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path / "numpy")]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    root, files = libraries.source_files("numpy")
    assert [file.relative_to(root).as_posix() for file in files] == ["numpy/core.py", "numpy/distutils_too.py"]


def test_installed_versions_must_be_the_pinned_ones(tmp_path: Path) -> None:
    pins = tmp_path / "pins.txt"
    pinned = (REPOSITORY / "constraints.txt").read_text()
    pins.write_text(pinned)
    libraries.check_versions(["torch", "sqlalchemy", "sklearn"], pins)  # torch may be installed as 2.13.0+cpu
    pins.write_text(re.sub(r"(?m)^redis==.*$", "redis==1.0.0", pinned))
    with pytest.raises(ValueError, match=r"redis 8\.1\.0 is installed, .*pins 1\.0\.0.*make setup"):
        libraries.check_versions(["redis"], pins)
    with pytest.raises(ValueError, match=r"'panda', which is not installed\. Did you mean 'pandas'\?"):
        libraries.check_versions(["panda"], pins)
    pins.write_text("numpy==2.4.6\n")
    with pytest.raises(ValueError, match=r"'redis' \(redis\), which .*pins\.txt does not pin"):
        libraries.check_versions(["redis"], pins)


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


def test_a_label_is_read_alike_in_all_files_of_a_csv_dataset(tmp_path: Path) -> None:
    """By themselves, columns of True and False or of 01 and 02 would be typed, in the files that hold nothing else."""
    from stages.sources import hub

    for name, labels in (("flags", ("True", "False", "")), ("codes", ("01", "02", "A1"))):
        folder = tmp_path / name
        folder.mkdir()
        for split, own in (("train", labels), ("test", labels[:2])):
            lines = "".join(f"a text {at},{label}\n" for at, label in enumerate(own))
            (folder / f"{split}.csv").write_text(f"text,label\n{lines}")
        found = [(row.label, row.split) for row in hub.read(settings(folder), 0)]
        assert found == [(label or None, "train") for label in labels] + [(label, "test") for label in labels[:2]]


def test_a_folder_in_the_hubs_layout_gives_splits_and_names_of_labels(tmp_path: Path) -> None:
    from stages.sources import hub

    folder = hub_folder(tmp_path / "pets")
    assert list(hub.read(settings(folder), 0)) == [
        RawRow("NA", "cat", "train:1", "train"),
        RawRow("null", "dog", "train:2", "train"),
        RawRow("bark", "dog", "train:3", "train"),
        RawRow("meow", "cat", "test:1", "test"),
    ]
    with pytest.raises(ValueError, match=r"no column 'words' \(ingest\.columns\.text\)\. Found: text, label"):
        list(hub.read(settings(folder, columns={"text": "words"}), 0))
    called = SplitNames(train="test", validation="dev", test="train", transfer=None, held_out=None)
    assert [(row.origin, row.split) for row in hub.read(settings(folder, splits=called), 0)] == [
        ("test:1", "train"), ("train:1", "test"), ("train:2", "test"), ("train:3", "test"),
    ]  # fmt: skip
    called = SplitNames(train="all", validation="dev", test="final", transfer=None, held_out=None)
    with pytest.raises(ValueError, match=r"has the splits train, test, and ingest\.splits names all, dev, final"):
        list(hub.read(settings(folder, splits=called), 0))
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError, match=r"no such folder, and ingest\.hub\.dataset is null"):
        list(hub.read(settings(folder), 0))


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A dataset's folder, and beside it a file that is not the dataset's."""
    (tmp_path / "private.csv").write_text("text,label\nmine,0\n")
    folder = hub_folder(tmp_path / "pets")
    (folder / "README.md").unlink()
    return folder


OUTSIDE = {
    "absolute": "data_files: {outside}/private.csv",
    "above": "data_files: ../private.csv",
    "above, by the way": "data_files: train/../../private.csv",
    "one of several": "data_files: [train.csv, '{outside}/private.csv']",
    "of a split": "data_files: [{{split: train, path: ['{outside}/*.csv']}}]",
    "home": "data_files: ~/private.csv",
    "URL": "data_files: http://127.0.0.1:9/private.csv",
    "chain": "data_files: zip://private.csv::../a.zip",
    "folder": "data_dir: ..",
}


@pytest.mark.parametrize("card", ["README.md", ".huggingface.yaml"])
@pytest.mark.parametrize("named", OUTSIDE.values(), ids=OUTSIDE.keys())
def test_a_folder_whose_card_names_files_elsewhere_is_refused_before_they_are_looked_for(
    pets: Path, named: str, card: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.sources import hub

    monkeypatch.setattr(hub.datasets, "load_dataset_builder", lambda *_, **__: pytest.fail("it is looked for"))
    text = f"configs:\n- config_name: default\n  {named.format(outside=pets.parent)}\n"
    (pets / card).write_text(f"---\n{text}---\n" if card == "README.md" else text)
    with pytest.raises(ValueError, match=r"names the file '.*', which is not in it\. Allowed in its card") as raised:
        list(hub.read(settings(pets), 0))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("card", "text", "told"),
    [
        ("README.md", "---\nconfigs: [\n---\n", "pets cannot be loaded: "),
        ("README.md", "---\n- a\n---\n", "pets cannot be loaded: "),
        (".huggingface.yaml", "- a\n", r"\.huggingface\.yaml holds no keys with values"),
    ],
    ids=["torn", "a list", "a list beside"],
)
def test_a_card_that_is_none_is_an_error_in_one_line(pets: Path, card: str, text: str, told: str) -> None:
    from stages.sources import hub

    (pets / card).write_text(text)
    with pytest.raises(ValueError, match=told) as raised:
        list(hub.read(settings(pets), 0))
    assert "\n" not in str(raised.value)


def test_files_that_are_found_elsewhere_by_whatever_way_are_not_read(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.sources import hub

    monkeypatch.setattr(hub, "_check_card", lambda _folder: None)  # as if it had overlooked one
    (pets / "README.md").write_text(
        f"---\nconfigs:\n- config_name: default\n  data_files: {pets.parent}/private.csv\n---\n"
    )
    with pytest.raises(ValueError, match=r"names the file '.*/private\.csv', which is not in it"):
        list(hub.read(settings(pets), 0))


@pytest.mark.parametrize(
    "file",
    ["/etc/passwd", "https://evil.example/a.csv", "hf://datasets/other/pets@0/a.csv", "hf://datasets/a/b@0/../c"],
)
def test_a_dataset_of_the_hub_may_name_its_own_files_alone(file: str) -> None:
    from stages.sources import hub

    params = settings("data", hub=HubParams(dataset="a/b", config=None, revision="0" * 40))
    hub._check_files({"train": ["hf://datasets/a/b@0/train.csv"]}, "hf://datasets/a/b@", params)
    with pytest.raises(ValueError, match=r"the dataset 'a/b' names the file"):
        hub._check_files({"train": ["hf://datasets/a/b@0/train.csv", file]}, "hf://datasets/a/b@", params)


def test_a_datasets_numbers_of_tags_are_their_names_also_in_lists(tmp_path: Path) -> None:
    import datasets

    from stages.sources import hub

    tags = datasets.List(datasets.ClassLabel(names=["O", "B-person"]))
    features = datasets.Features(tokens=datasets.List(datasets.Value("string")), tags=tags)
    rows = datasets.Dataset.from_dict({"tokens": [["Ada", "wrote"]], "tags": [[1, 0]]}, features=features)
    rows.to_parquet(tmp_path / "train.parquet")
    params = settings(tmp_path, source="hub", columns={"text": "tokens", "label": "tags"})
    found = list(hub.read(params, 0, structured=frozenset({"text", "target"})))
    assert found == [RawRow('["Ada", "wrote"]', '["B-person", "O"]', "train:1")]
    (refused,) = hub.read(params, 0)
    assert isinstance(refused, RejectedRow)
    assert refused.reason == "wrong_type"


def test_a_row_of_a_dataset_that_is_too_long_is_rejected_and_counted(tmp_path: Path) -> None:
    from stages.sources import hub

    folder = hub_folder(tmp_path / "pets")
    (folder / "test.csv").write_text(f"text,label\n{'x' * 1_001},0\nmeow,0\n")
    *_, long, meow = hub.read(settings(folder, max_row_chars=1_000), 0)
    detail = "1,001 characters, allowed 1,000 (ingest.max_row_chars)"
    assert long == RejectedRow("test:1", "too_long", detail, "x" * 200)
    assert meow == RawRow("meow", "cat", "test:2", "test")


def test_a_dataset_whose_bytes_are_no_text_says_what_reads_it(tmp_path: Path) -> None:
    from stages.sources import hub

    cells = pa.array([b"good", b"caf\xe9"], pa.binary())
    texts = pa.StringArray.from_buffers(2, cells.buffers()[1], cells.buffers()[2])
    (tmp_path / "pets").mkdir()
    pq.write_table(pa.table({"text": texts, "label": ["a", "b"]}), tmp_path / "pets/train.parquet")
    with pytest.raises(ValueError, match=r"pets has texts that are not UTF-8 .*ingest\.source: files"):
        list(hub.read(settings(tmp_path / "pets"), 0))


def test_without_a_network_the_hub_says_what_to_do() -> None:
    from stages.sources import hub

    pinned = HubParams(dataset="nobody/pets", config=None, revision="0" * 40)
    with pytest.raises(ConnectionError, match=r"hf download nobody/pets .*set ingest\.path") as raised:
        list(hub.read(settings("data", hub=pinned), 0))
    assert "\n" not in str(raised.value)


# the stage


def test_ingest_writes_every_row_with_a_stable_id(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\nx,a\ny,\n")
    paths = Paths(tmp_path / "project")
    ingest_stage.ingest(project_params(settings(tmp_path / "rows.csv")), paths)
    table = pq.read_table(paths.raw)
    assert table.column_names == ["row_id", "text", "label", "origin", "split", "group", "kept"]
    assert table["row_id"].to_pylist()[0] == "04221d7fdb925c2d"  # printf rows.csv:2 | sha256sum
    assert table.to_pylist()[1] | {"row_id": ""} == {
        "row_id": "", "text": "y", "label": None, "origin": "rows.csv:3", "split": None, "group": None,
        "kept": None,
    }  # fmt: skip


def test_ingest_refuses_unknown_sources_and_repeated_origins(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    with pytest.raises(ValueError, match=r"ingest\.source is 'file'\. Allowed: .*Did you mean 'files'\?"):
        ingest_stage.ingest(project_params(settings("x", source="file")), paths)
    rows = [RawRow("x", "a", origin) for origin in ("here:1", "here:2", "here:1")]
    with pytest.raises(ValueError, match=r"same origin: here:1 \(2 times\)"):
        ingest_stage.write_rows(rows, tmp_path / "raw", tmp_path / "unreadable")
    assert not paths.raw.exists()


def test_rows_written_a_few_at_a_time_have_the_bytes_of_the_whole_table(tmp_path: Path) -> None:
    schema = pa.schema([(name, pa.large_string()) for name in ("a", "b")])
    rows = [(str(at), None if at % 3 else "é" * (at % 50)) for at in range(GROUP_ROWS + 10)]
    with ParquetRows(tmp_path / "rows", schema) as file:
        for row in rows:
            file.write(row)
    write_parquet(tmp_path / "table", pa.table([list(column) for column in zip(*rows, strict=True)], schema=schema))
    assert (tmp_path / "rows").read_bytes() == (tmp_path / "table").read_bytes()
