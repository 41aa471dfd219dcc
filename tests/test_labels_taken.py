"""`winnow label take` and `apply`: filled lists checked row by row, what is kept of them, and the data corrected."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import labelling_fixtures
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import edit_params
from labelling_fixtures import TRAINING, UNLABELLED, labelled, rows_of, write_rows

from flows.labelling.applying import apply
from flows.labelling.keeping import keep_labelled, read_rows, text_hash
from flows.labelling.listed import Listed, remember, unescaped
from flows.labelling.places import place_of, source_of
from flows.labelling.taking import Checked, Taken, check, listed_here
from stages.core.params.file import load_params
from stages.core.paths import Paths
from stages.sources.files import read

project = labelling_fixtures.project
GIVEN = (
    Listed("12e4", "bread or ship", origin="more.csv:2", suggestion="sea"),
    Listed("b2", "=sum of  things", origin="more.csv:3"),
    Listed("c3", "an é as one", origin="more.csv:4"),
    Listed("r0", TRAINING[0][0], origin="reviews.csv:2", given="kitchen", suggestion="sea"),
    Listed("r1", TRAINING[1][0], origin="reviews.csv:3", given="sea", suggestion="kitchen"),
    Listed("r3", TRAINING[3][0], origin="reviews.csv:5", given="sea", suggestion="kitchen"),
)


@pytest.fixture
def known(project: Paths) -> Paths:
    """The project, in which these rows were listed."""
    remember(project, GIVEN)
    return project


def taken(paths: Paths, content: str | bytes, classes: Sequence[str] | None = ("kitchen", "sea")) -> Checked:
    Path("filled.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    return check(listed_here(paths, "filled.csv"), "filled.csv", "text_classification", classes, lambda _: None)


def test_a_filled_row_is_taken_with_the_text_that_was_listed(known: Paths) -> None:
    found = taken(known, "row_id,text,label\nb2,'=sum of things,  sea \n12e4,bread or ship,\n")
    assert [(one.row, one.target) for one in found.taken] == [(GIVEN[1], "sea")]
    assert (found.rows, found.empty, found.faults) == (2, 1, [])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("semicolons and a byte order mark", "\ufeffrow_id;text;suggestion;label\nb2;=sum of  things;;sea\n".encode()),
        ("tabs", b"row_id\ttext\tlabel\nb2\t=sum of  things\tsea\n"),
        ("utf-16, as some spreadsheets have it", "row_id,text,label\nb2,=sum of  things,sea\n".encode("utf-16")),
        ("other columns, in another order", b"note,label,text,row_id\nx,sea,=sum of  things,b2\n"),
        ("an id of which a number was made", b"row_id,text,label\n1.2E+5,bread or ship,sea\n"),
        ("a decomposed letter", "row_id,text,label\nc3,an e\u0301 as one,sea\n".encode()),
        ("invisible characters in the label", "row_id,text,label\nc3,an é as one,s\u200bea\u00a0\n".encode()),
        ("carriage returns", b"row_id,text,label\r\nb2,\"=sum of\r\nthings\",sea\r\n"),
        ("twice the same", b"row_id,text,label\nb2,=sum of  things,sea\nb2,=sum of  things,sea\n"),
    ],
)  # fmt: skip
def test_what_spreadsheets_make_of_a_list_is_read(known: Paths, name: str, content: bytes) -> None:
    found = taken(known, content)
    assert [one.target for one in found.taken] == ["sea"], name
    assert found.faults == []
    assert found.found_by_text == ("number" in name)
    assert found.doubles == ("twice" in name)


BAD = (
    ("b2,=sum of  things,see", "no training row has the label 'see'. Allowed: kitchen, sea. Did you mean 'sea'?"),
    ("b2,=sum of  things,Sea", "no training row has the label 'Sea'. Allowed: kitchen, sea. Did you mean 'sea'?"),
    ("b2,=sum of  things,forest", "no training row has the label 'forest'. Allowed: kitchen, sea. New ones are taken"),
    ("b2,=sum of  things,=sea", "no training row has the label '=sea'."),
    ("b2,=sum of  things,kitchen; sea", "no training row has the label 'kitchen; sea'."),
    ("b2,=sum of other things,sea", "the text of row b2 is another one than was listed: '=sum of other things'"),
    ("b2,=SUM OF THINGS,sea", "is another one than was listed"),
    ("b2,,sea", "the text of row b2 is another one than was listed: '', and it was"),
    ("b2,#NAME?,sea", "is another one than was listed: '#NAME?'"),
    ("c3,an Ã© as one,sea", "is another one than was listed: 'an Ã© as one'"),
    ("12e4,an é as one,sea", "the text of row 12e4 is another one"),
    ("x9,no such text,sea", "no row of the id 'x9' was listed in this project, nor one with its text."),
    (",no such text,sea", "no row of the id '' was listed in this project"),
    (",,sea", "no row of the id '' was listed in this project"),
    ("b2,=sum of  things,sea,too many", "4 fields, expected 3 as in the header"),
    ("b2,sea", "2 fields, expected 3 as in the header"),
    ('b2,"=sum" of,sea', "Mend the line."),
    ('"b2,=sum of  things,sea', "Mend the line."),
    ("b2,=sum of  things,\u200b\u200b\u2060.", "no training row has the label '.'."),
    ("b2,a\0b,sea", "Mend the line."),
    ("b2,=sum of  things,sea\xff", "no training row has the label 'seaÿ'."),
)  # fmt: skip


@pytest.mark.parametrize(("line", "told"), BAD)
def test_a_bad_row_is_told_with_its_line_and_the_others_are_taken(known: Paths, line: str, told: str) -> None:
    found = taken(known, f"row_id,text,label\n12e4,bread or ship,sea\n{line}\nc3,an é as one,kitchen\n")
    assert [one.row.row_id for one in found.taken] == ["12e4", "c3"]
    (fault,) = found.faults
    assert fault.startswith("filled.csv, line 3: ")
    assert told in fault
    assert fault.endswith((".", "--new-labels."))


def test_lists_of_every_kind_are_taken(known: Paths) -> None:
    rows = [{"row_id": "b2", "text": "=sum of  things", "label": "sea"}, {"row_id": "c3", "text": "x"}]
    Path("filled.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), "filled.parquet")
    for name in ("filled.jsonl", "filled.parquet"):
        found = check(listed_here(known, name), name, "text_classification", ("kitchen", "sea"), lambda _: None)
        assert [(one.row.row_id, one.target) for one in found.taken] == [("b2", "sea")]
        assert (found.rows, found.empty) == (2, 1)


def test_of_pairs_both_texts_must_be_as_they_were(known: Paths) -> None:
    remember(known, [Listed("p1", "a premise", "=a hypothesis")])
    head = "row_id,text,text_pair,label\n"
    assert [one.target for one in taken(known, f"{head}p1,a premise,'=a hypothesis,sea\n").taken] == ["sea"]
    for changed in ("p1,a premise,another,sea", "p1,a premise,,sea", "p1,=a hypothesis,a premise,sea"):
        assert "the text of row p1 is another one" in taken(known, f"{head}{changed}\n").faults[0]


def test_bytes_that_are_no_text_are_a_fault_of_their_row(known: Paths) -> None:
    lines = [b"row_id,text,label", *[b"12e4,bread or ship,sea"] * 30, b"b2,=sum of \xff things,sea", b""]
    found = taken(known, b"\n".join(lines))
    assert len(found.faults) == 1
    assert found.faults[0].startswith("filled.csv, line 32: ")
    assert (len(found.taken), found.doubles) == (1, 29)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("r0,bread with butter on a plate,sea,x", "it has a label ('sea') and is to be dropped. Say one of both."),
        ("r0,bread with butter on a plate,,maybe", "the column 'drop' has 'maybe'. Allowed: x to drop the row"),
        ("b2,=sum of  things,,x", "it has no label yet, so there is nothing to drop."),
    ],
)
def test_a_bad_wish_to_drop_is_told(known: Paths, line: str, told: str) -> None:
    (fault,) = taken(known, f"row_id,text,label,drop\n{line}\n").faults
    assert told in fault


def test_of_a_row_that_is_labelled_twice_in_two_ways_neither_is_taken(known: Paths) -> None:
    found = taken(known, "row_id,text,label\nc3,an é as one,sea\nb2,=sum of things,sea\nb2,=sum of things,kitchen\n")
    assert [one.row.row_id for one in found.taken] == ["c3"]
    assert found.faults == [
        "filled.csv, line 4: row b2 has the label 'kitchen', and the label 'sea' at filled.csv, line 3. Neither is"
        " taken: keep one of both lines."
    ]


def test_new_labels_are_taken_where_that_is_said(known: Paths) -> None:
    assert [one.target for one in taken(known, "row_id,text,label\nb2,=sum of things,forest\n", None).taken] == [
        "forest"
    ]


@pytest.mark.parametrize(
    ("task", "label", "target", "told"),
    [
        ("multilabel_classification", "sea; kitchen", '["kitchen","sea"]', ""),
        ("multilabel_classification", "[]", "[]", ""),
        ("multilabel_classification", "sea; shore", "", "no training row has the label 'shore'"),
        ("multilabel_classification", '["sea", 3]', "", "3 in the target is no label"),
        ("regression", "+3.50", "3.5", ""),
        ("regression", "3,5", "", "is no finite number. Write it with a point"),
    ],
)
def test_targets_of_other_tasks_are_read_as_ingest_reads_them(
    known: Paths, task: str, label: str, target: str, told: str
) -> None:
    write_rows(Path("filled.csv"), [{"row_id": "b2", "text": "=sum of things", "label": label}])
    classes = None if task == "regression" else ("kitchen", "sea")
    found = check(listed_here(known, "filled.csv"), "filled.csv", task, classes, lambda _: None)
    assert [one.target for one in found.taken] == ([target] if target else [])
    assert told in "".join(found.faults)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("row_id,text\nb2,a\n", "filled.csv has no column 'label'; it has row_id, text. Keep the columns"),
        ("id,text,etiqueta\nb2,a,b\n", "no column 'row_id' and no column 'label'"),
        ("row_id,body,label\nb2,a,b\n", "text"),
        ("", "empty"),
    ],
)
def test_a_file_that_is_no_list_is_refused(known: Paths, content: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        taken(known, content)


def test_a_list_of_another_project_is_refused_with_the_next_step(project: Paths) -> None:
    with pytest.raises(FileNotFoundError, match=r"no list was made in .*winnow label propose"):
        taken(project, "row_id,text,label\nb2,a,sea\n")


def ingested(paths: Paths, files: dict[str, str]) -> None:
    """The project's data, as its files and as `ingest` wrote it."""
    for name, text in files.items():
        path = paths.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    rows = list(read(load_params(paths.params).ingest, 0))
    ids = {f"reviews.csv:{at + 2}": f"r{at}" for at in range(len(TRAINING))}
    table = [{"row_id": ids.get(row.origin, row.origin), "text": row.text, "label": row.label} for row in rows]
    more = [{"row_id": f"u{at}", "text": text, "label": None} for at, text in enumerate(UNLABELLED)]
    pq.write_table(pa.Table.from_pylist([*table, *more]), paths.raw)


REVIEWS = "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in TRAINING)


def test_labelled_rows_go_to_a_file_that_ingest_reads_and_none_is_ever_lost(
    known: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    ingested(known, {"data/reviews.csv": REVIEWS})
    Path("filled.csv").write_text("row_id,text,label\n12e4,bread or ship,sea\nb2,'=sum of things,shore\n")
    said = labelled(capsys, "take", "filled.csv", "--by", "R.")
    assert said.code == 3
    assert said.err[0].startswith("winnow: data/labelled.csv: 1 row added. Next: set `path: data` under ingest")
    assert said.err[1] == "winnow: 2 rows: 1 labelled; 1 wrong."
    assert said.err[2].startswith("filled.csv, line 3: no training row has the label 'shore'.")
    first = Path("data/labelled.csv").read_text()
    (row,) = rows_of(Path("data/labelled.csv"))
    assert row["labelled_on"]
    assert {**row, "labelled_on": ""} == {
        "text": "bread or ship", "label": "sea", "labelled_row_id": "12e4", "labelled_from": "more.csv:2",
        "labelled_on": "", "labelled_by": "R.", "labelled_suggestion": "sea",
    }  # fmt: skip
    Path("filled.csv").write_text("row_id,text,label\n12e4,bread or ship,sea\nb2,=sum of things,sea\n")
    assert labelled(capsys, "take", "filled.csv").code == 0
    assert Path("data/labelled.csv").read_text().startswith(first)
    assert [row["text"] for row in rows_of(Path("data/labelled.csv"))] == ["bread or ship", "=sum of  things"]
    edit_params(known.root, ingest__path="data")
    rows = list(read(load_params(known.params).ingest, 0))
    assert [(row.origin, row.text, row.label) for row in rows[:2]] == [
        ("labelled.csv:2", "bread or ship", "sea"), ("labelled.csv:3", "=sum of  things", "sea"),
    ]  # fmt: skip
    assert [row.origin for row in rows[2:]] == [f"reviews.csv:{at + 2}" for at in range(len(TRAINING))]


def test_another_label_for_a_row_that_is_there_is_refused_and_the_earlier_stays(
    known: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    for label, code in (("sea", 0), ("sea", 0), ("kitchen", 3)):
        Path("filled.csv").write_text(f"row_id,text,label\n12e4,bread or ship,{label}\n")
        said = labelled(capsys, "take", "filled.csv")
        assert said.code == code
    assert "row 12e4 is there as 'sea', and is now 'kitchen'. The earlier stays" in "\n".join(said.err)
    assert [row["label"] for row in rows_of(Path("data/labelled.csv"))] == ["sea"]


def test_a_file_of_labels_that_was_broken_is_left_as_it_is(known: Paths) -> None:
    ingest = load_params(known.params).ingest
    for content, told in (("text,label\nonly\n", "row 1: other fields"), ("a,b\n1,2\n", "has no column"),
                          ('text,label\n"open\n', "cannot be read")):  # fmt: skip
        Path("labelled.csv").write_text(content)
        with pytest.raises(ValueError, match=told):
            keep_labelled(known, Path("labelled.csv"), [Taken(GIVEN[0], "sea")], ingest, on="", by="")
        assert Path("labelled.csv").read_text() == content


def test_a_dry_run_and_an_empty_list_write_nothing(known: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    Path("filled.csv").write_text("row_id,text,label\n12e4,bread or ship,sea\n")
    assert labelled(capsys, "take", "filled.csv", "--dry-run").err == ["winnow: 1 row: 1 labelled."]
    Path("filled.csv").write_text("row_id,text,label\n12e4,bread or ship,\n")
    said = labelled(capsys, "take", "filled.csv")
    assert (said.code, said.err[-1]) == (
        1, "winnow: filled.csv: no row could be taken. Its column 'label' is empty: fill it.",
    )  # fmt: skip
    assert not Path("data").exists()


CORRECTED = (
    "row_id,text,label,drop\nr0,bread with butter on a plate,sea,\nr1,the ship is in the harbour,,x\n"
    "r3,a ship on the waves,sea,\n"
)


def corrected(paths: Paths, capsys: pytest.CaptureFixture[str]) -> list[str]:
    Path("filled.csv").write_text(CORRECTED)
    said = labelled(capsys, "take", "filled.csv")
    assert said.code == 0
    return said.err


def test_doubted_rows_are_corrected_in_a_copy_in_which_rows_keep_their_ids(
    known: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    ingested(known, {"data/reviews.csv": REVIEWS})
    assert corrected(known, capsys)[1] == "winnow: 3 rows: 1 relabelled; 1 to be dropped; 1 right as they are."
    found = read_rows(known.root / "corrections.csv")
    assert [(row["row_id"], row["was"], row["now"], row["action"]) for row in found] == [
        ("r0", "kitchen", "sea", "relabel"), ("r1", "sea", "", "drop"), ("r3", "sea", "sea", "keep"),
    ]  # fmt: skip
    assert found[0]["text_sha256"] == text_hash(TRAINING[0][0])
    assert TRAINING[0][0] not in (known.root / "corrections.csv").read_text()  # it is for git
    said = labelled(capsys, "apply")
    assert (said.code, said.err) == (0, [
        "winnow: data/_corrected/reviews.csv: data/reviews.csv with 1 row relabelled and 1 without a label, so that"
        " they are dropped.",
        "winnow: Next: set `path: data/_corrected/reviews.csv` under ingest in params.yaml; the way back is `path:"
        " data/reviews.csv`.",
    ])  # fmt: skip
    assert Path("data/reviews.csv").read_text() == REVIEWS
    changed = Path("data/_corrected/reviews.csv").read_text().splitlines()
    assert changed[1:3] == ['"bread with butter on a plate","sea"', '"the ship is in the harbour",""']
    assert [changed[0], *changed[3:]] == [line for at, line in enumerate(REVIEWS.splitlines()) if at not in (1, 2)]
    edit_params(known.root, ingest__path="data/_corrected/reviews.csv")
    assert next(row.origin for row in read(load_params(known.params).ingest, 0)) == "reviews.csv:2"
    assert source_of(known.root, load_params(known.params).ingest) == "data/reviews.csv"
    assert labelled(capsys, "apply").code == 0  # again, from the data as they were


def test_who_thinks_otherwise_once_the_corrected_copy_is_read_speaks_of_the_data_themselves(
    known: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    ingested(known, {"data/reviews.csv": REVIEWS})
    corrected(known, capsys)
    labelled(capsys, "apply")
    edit_params(known.root, ingest__path="data/_corrected/reviews.csv")
    rows = pq.read_table(known.raw).to_pylist()  # as `ingest` reads the copy: r0 is of the sea, r1 without a label
    rows = [{**row, "label": {"r0": "sea", "r1": None}.get(row["row_id"], row["label"])} for row in rows]
    pq.write_table(pa.Table.from_pylist(rows), known.raw)
    right = {"r0": ("bread with butter on a plate", "kitchen"), "r1": ("the ship is in the harbour", "sea")}
    Path("filled.csv").write_text("row_id,text,label\n" + "".join(f"{r},{t},{c}\n" for r, (t, c) in right.items()))
    said = labelled(capsys, "take", "filled.csv")
    assert said.code == 3
    assert [line.partition(". ")[0] for line in said.err if "is there as" in line] == [
        "corrections.csv: row r0 is there as 'sea', and is now 'kitchen'",
        "corrections.csv: row r1 is there as '', and is now 'sea'",
    ]
    assert "run `winnow label apply` and `winnow reproduce`, and take the list again" in said.err[-1]
    Path("filled.csv").write_text(CORRECTED)  # who thinks the same is still counted as there
    assert labelled(capsys, "take", "filled.csv").code == 0


def test_of_a_list_of_another_clone_is_said_so_also_where_nothing_was_reproduced(
    project: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    project.clean.unlink()
    Path("filled.csv").write_text("row_id,text,label\nb2,a,sea\n")
    said = labelled(capsys, "take", "filled.csv")
    assert said.code == 1
    assert "of a list made in another clone, take it in that one" in said.err[-1]


def fill(capsys: pytest.CaptureFixture[str], line: str) -> list[str]:
    """What `take` says of a list with this line."""
    Path("filled.csv").write_text(f"row_id,text,label\n{line}\n")
    said = labelled(capsys, "take", "filled.csv")
    assert said.code == 0
    return said.err


def follow(paths: Paths, told: Sequence[str]) -> None:
    """Set ingest.path to what a command says is to be set, if it does."""
    if found := re.search("set `path: ([^`]*)`", "\n".join(told)):
        edit_params(paths.root, ingest__path=found[1])


def test_of_a_folder_no_label_is_lost_where_rows_are_labelled_and_corrections_applied_by_turns(
    known: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    ingested(known, {"data/reviews.csv": REVIEWS})
    edit_params(known.root, ingest__path="data")
    assert labelled(capsys, "propose", "-o", "todo.csv").code == 0
    (first, second, *_) = rows_of(Path("todo.csv"))
    follow(known, fill(capsys, f'{first["row_id"]},"{first["text"]}",sea'))
    corrected(known, capsys)
    follow(known, labelled(capsys, "apply").err)
    told = fill(capsys, f'{second["row_id"]},"{second["text"]}",kitchen')
    assert told[0] == (
        "winnow: data/labelled.csv: 1 row added. Next: all of 'data' is read, and this file with it; then `winnow"
        " label apply` again."
    )
    follow(known, labelled(capsys, "apply").err)
    assert load_params(known.params).ingest.path == "data/_corrected/data"
    assert [row["label"] for row in rows_of(Path("data/labelled.csv"))] == ["sea", "kitchen"]
    read_now = {row.text: row.label for row in read(load_params(known.params).ingest, 0)}
    assert [read_now[text] for text in (unescaped(first["text"]), unescaped(second["text"]), TRAINING[0][0])] == [
        "sea", "kitchen", "sea",
    ]  # fmt: skip
    assert labelled(capsys, "propose", "-o", "more.csv").code == 0
    assert not {row["row_id"] for row in rows_of(Path("more.csv"))} & {first["row_id"], second["row_id"]}


def test_of_a_single_file_no_label_is_lost_either(known: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    ingested(known, {"data/reviews.csv": REVIEWS})
    corrected(known, capsys)
    follow(known, labelled(capsys, "apply").err)
    told = fill(capsys, "12e4,bread or ship,sea")
    assert told[0].startswith("winnow: data/labelled.csv: 1 row added. Next: set `path: data` under ingest")
    assert told[0].endswith("Rows keep their ids; then `winnow label apply` again.")
    said = labelled(capsys, "apply")  # the file alone again, as nobody did what was told
    assert said.err[-1].startswith(
        "winnow: data/labelled.csv is not in it. For its rows: set `path: data` under ingest"
    )
    follow(known, told)
    follow(known, labelled(capsys, "apply").err)
    follow(known, fill(capsys, "b2,=sum of  things,kitchen"))
    said = labelled(capsys, "apply")
    assert (said.code, len(said.err)) == (0, 1)
    read_now = {row.text: row.label for row in read(load_params(known.params).ingest, 0)}
    assert (read_now["bread or ship"], read_now["=sum of  things"], read_now[TRAINING[0][0]]) == (
        "sea", "kitchen", "sea",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "stranded"),
    [("data", "data/_corrected/data/labelled.csv"), ("data/reviews.csv", "data/_corrected/labelled.csv")],
)
def test_labelled_rows_that_lie_in_a_copy_alone_are_never_removed(
    known: Paths, capsys: pytest.CaptureFixture[str], path: str, stranded: str
) -> None:
    ingested(known, {"data/reviews.csv": REVIEWS})
    edit_params(known.root, ingest__path=path)
    corrected(known, capsys)
    follow(known, labelled(capsys, "apply").err)
    fill(capsys, "12e4,bread or ship,sea")
    Path("data/labelled.csv").replace(stranded)
    content = Path(stranded).read_text()
    said = labelled(capsys, "apply")
    assert said.code == 1
    assert said.err[-1].startswith(f"winnow: {stranded} has labelled rows that are not in the data")
    assert "Move them to data/labelled.csv" in said.err[-1]
    assert Path(stranded).read_text() == content
    Path(stranded).replace("data/labelled.csv")
    assert labelled(capsys, "apply").code == 0


def test_where_the_last_correction_was_taken_out_the_way_back_is_told(
    known: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    ingested(known, {"data/reviews.csv": REVIEWS})
    corrected(known, capsys)
    follow(known, labelled(capsys, "apply").err)
    Path("corrections.csv").write_text(Path("corrections.csv").read_text().splitlines(keepends=True)[0])
    said = labelled(capsys, "apply")
    assert (said.code, said.err[-1]) == (
        1, "winnow: corrections.csv has nothing to change. `winnow label take` adds to it. Set `path` under ingest in"
        " params.yaml back to data/reviews.csv.",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "place", "told"),
    [
        ("reviews.csv", "data/labelled.csv", "move 'reviews.csv' to data/, and set `path: data` under ingest"),
        ("./data/more/../reviews.csv", "data/labelled.csv", "set `path: data` under ingest"),
        ("data/more/..", "data/labelled.csv", "is read, and this file with it"),
        ("not-fetched-yet", "not-fetched-yet/labelled.csv", "is read, and this file with it"),
        ("../data/reviews.csv", "data/labelled.csv", "'../data/reviews.csv', outside of the project"),
        ("data/../../other/reviews.csv", "data/labelled.csv", "outside of the project"),
        ("data/_corrected/../reviews.csv", "data/labelled.csv", "set `path: data` under ingest"),
        ("s3://bucket/reviews.csv", "data/labelled.csv", "outside of the project"),
    ],
)
def test_the_place_of_labelled_rows_is_where_the_path_leads(known: Paths, path: str, place: str, told: str) -> None:
    (known.root / "data/more").mkdir(parents=True)
    edit_params(known.root, ingest__path=path)
    found = place_of(known.root, load_params(known.params).ingest)
    assert found.path == Path(place)
    assert told in found.next_step


def test_a_folder_by_a_path_that_ends_in_dots_is_copied_under_its_name(known: Paths) -> None:
    edit_params(known.root, ingest__path="data/all/more/..")
    ingested(known, {"data/all/reviews.csv": REVIEWS, "data/all/more/other.txt": ""})
    line = f"r0,reviews.csv:2,{text_hash(TRAINING[0][0])},kitchen,sea,relabel,,"
    Path("corrections.csv").write_text(f"row_id,origin,text_sha256,was,now,action,on,by\n{line}\n")
    assert apply(known, load_params(known.params)).path == Path("data/_corrected/all")
    assert Path("data/all/reviews.csv").read_text() == REVIEWS


def test_data_that_is_a_link_to_a_cache_is_called_what_the_link_is(
    known: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Path("cache/files/md5/8f/14e45fceea167a5a36dedd4bea2543").absolute()
    for folder in (kept.parent, Path("data")):
        folder.mkdir(parents=True, exist_ok=True)
    kept.write_text(REVIEWS)
    Path("data/reviews.csv").symlink_to(kept)
    edit_params(known.root, ingest__path="data/reviews.csv")
    ingested(known, {})
    assert place_of(known.root, load_params(known.params).ingest).path == Path("data/labelled.csv")
    corrected(known, capsys)
    assert apply(known, load_params(known.params)).path == Path("data/_corrected/reviews.csv")
    assert kept.read_text() == REVIEWS


@pytest.mark.parametrize(
    ("encoding", "is_read"), [("UTF8", True), ("utf_8_sig", True), ("cp1252", False), ("utf-16", False)]
)
def test_labelled_rows_are_refused_where_utf_8_would_be_read_as_something_else(
    known: Paths, capsys: pytest.CaptureFixture[str], encoding: str, is_read: bool
) -> None:
    edit_params(known.root, ingest__encoding=encoding)
    Path("filled.csv").write_text("row_id,text,label\nc3,an é as one,sea\n")
    for arguments in (["propose"], ["take", "filled.csv", "--dry-run"], ["take", "filled.csv"]):
        said = labelled(capsys, *arguments)
        assert said.code == (0 if is_read else 1)
        told = f"winnow: params.yaml: ingest.encoding is '{encoding}', in which all files are read, and labelled rows"
        assert is_read or said.err[-1].startswith(told)
    assert Path("data/labelled.csv").exists() == is_read


def test_corrections_are_taken_in_any_encoding_of_the_data(known: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    edit_params(known.root, ingest__encoding="cp1252")
    ingested(known, {"data/reviews.csv": REVIEWS})
    corrected(known, capsys)
    assert labelled(capsys, "apply").code == 0


def test_a_correction_that_no_longer_fits_is_told_and_left_out(
    known: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    ingested(known, {"data/reviews.csv": REVIEWS})
    corrected(known, capsys)
    Path("data/reviews.csv").write_text(REVIEWS.replace("bread with", "rolls with"))
    said = labelled(capsys, "apply")
    assert said.code == 3
    assert "reviews.csv:2: another text stands there than when its label was doubted. Left out." in said.err
    Path("data/reviews.csv").write_text("".join(REVIEWS.splitlines(keepends=True)[:1]) + '"x",sea\n')
    said = labelled(capsys, "apply")
    assert said.code == 1
    assert "winnow: reviews.csv:3: there is no such row. Left out." in said.err
    assert said.err[-1] == "winnow: no correction fits the data, so nothing was written."


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "tsv", "jsonl", "parquet"])
def test_files_of_every_kind_keep_all_else_as_it_was(known: Paths, ending: str) -> None:
    rows = [{"text": f'text {at},\n"{at}"', "label": "sea", "more": str(at)} for at in range(4)]
    path = Path(f"data/rows.{ending}")
    path.parent.mkdir()
    write_kind(path, rows)
    edit_params(known.root, ingest__path=path.as_posix(), ingest__keep_columns=["more"])
    params = load_params(known.params)
    before = list(read(params.ingest, 0))
    lines = [
        f"r{at},{row.origin},{text_hash(row.text or '')},sea,{now},{action},,"
        for at, (row, now, action) in enumerate(zip(before[1:3], ("kitchen", ""), ("relabel", "drop"), strict=True))
    ]
    header = "row_id,origin,text_sha256,was,now,action,on,by"
    Path("corrections.csv").write_text("\n".join([header, *lines, ""]))
    found = apply(known, params)
    assert (found.relabelled, found.dropped, found.faults) == (1, 1, [])
    after = list(read(params.ingest.model_copy(update={"path": found.path.as_posix()}), 0))
    assert [row.label for row in after] == ["sea", "kitchen", None, "sea"]
    others = [[(row.text, row.origin, row.split, row.group, row.kept) for row in rows] for rows in (before, after)]
    assert others[0] == others[1]


def write_kind(path: Path, rows: Sequence[dict[str, str]]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    else:
        plain = path.with_name("plain.csv")
        write_rows(plain, rows)
        text = plain.read_text()
        plain.unlink()
        if path.suffix == ".tsv":
            text = text.replace('",', '"\t').replace(",label,", "\tlabel\t").replace("sea,", "sea\t")
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def test_a_folder_is_copied_whole_and_only_its_rows_are_changed(known: Paths) -> None:
    edit_params(known.root, ingest__path="data/all")
    ingested(known, {"data/all/reviews.csv": REVIEWS, "data/all/other.csv": "text,label\nbread,kitchen\n"})
    line = f"r0,reviews.csv:2,{text_hash(TRAINING[0][0])},kitchen,sea,relabel,,"
    Path("corrections.csv").write_text(f"row_id,origin,text_sha256,was,now,action,on,by\n{line}\n")
    found = apply(known, load_params(known.params))
    assert found.path == Path("data/_corrected/all")
    assert Path("data/_corrected/all/other.csv").read_bytes() == Path("data/all/other.csv").read_bytes()
    assert rows_of(Path("data/_corrected/all/reviews.csv"))[0]["label"] == "sea"


def test_data_that_is_not_in_files_here_is_not_copied(known: Paths) -> None:
    Path("corrections.csv").write_text("row_id,origin,text_sha256,was,now,action,on,by\nr0,a,b,c,d,relabel,,\n")
    edit_params(known.root, ingest__source="docstrings")
    with pytest.raises(ValueError, match="Correct the rows where they are made"):
        apply(known, load_params(known.params))
    shutil.rmtree(known.root / "data", ignore_errors=True)
    Path("corrections.csv").unlink()
    with pytest.raises(FileNotFoundError, match="has nothing to change"):
        apply(known, load_params(known.params))
