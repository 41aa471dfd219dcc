"""`winnow label propose`: which rows are worth a label, and the lists of them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import labelling_fixtures
import numpy as np
import pyarrow.parquet as pq
import pytest
from labelling_fixtures import TRAINING, UNLABELLED, labelled, rows_of, write_project
from scipy.sparse import csr_matrix

from flows.labelling import candidates
from flows.labelling.candidates import TextColumns
from flows.labelling.listed import escaped, key_of, listed, unescaped
from flows.labelling.near import shingles
from flows.labelling.places import place_of
from flows.labelling.proposing import Proposal, chooser, diverse, propose, vectors_of
from stages.core.contracts import Outputs
from stages.core.params.file import load_params
from stages.core.paths import Paths
from stages.tasks.multilabel_classification.labelling import LABELLING as OF_SETS
from stages.tasks.text_classification.labelling import entropy, margin

project = labelling_fixtures.project
SPACE = {"labels": ["a", "b", "c"]}


def proposed(paths: Paths, count: int, *, seed: int = 1, by: str | None = "margin") -> list[Proposal]:
    pool = candidates.of_project(paths, most=1000, seed=seed)
    how = chooser(paths, load_params(paths.params), paths.model("quantized"), 1, by)
    return propose(pool.rows, how, count, labelled=(), seed=seed, on_rows=lambda _: None).rows


def test_the_margin_is_1_where_two_labels_are_as_likely_and_0_where_one_is_sure() -> None:
    outputs = Outputs(np.array([[0.4, 0.4, 0.2], [1, 0, 0], [0.6, 0.1, 0.3]], dtype=np.float32))
    assert margin(outputs, SPACE) == pytest.approx([1, 0, 0.7])
    assert margin(Outputs(np.ones((2, 1), dtype=np.float32)), {"labels": ["a"]}).tolist() == [0, 0]


def test_the_entropy_is_1_where_all_labels_are_as_likely() -> None:
    outputs = Outputs(np.array([[1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0], [1, 0, 0]], dtype=np.float32))
    assert entropy(outputs, SPACE) == pytest.approx([1, np.log(2) / np.log(3), 0], abs=1e-6)


def test_a_set_is_unsure_where_a_label_is_at_its_own_threshold() -> None:
    outputs = Outputs(np.array([[0.2, 0.0], [0.5, 1.0], [1.0, 0.0]], dtype=np.float32))
    space = {"labels": ["a", "b"], "thresholds": {"a": 0.2, "b": 0.5}}
    assert OF_SETS.uncertainties["margin"](outputs, space) == pytest.approx([1, 0.625, 0])
    assert OF_SETS.uncertainties["entropy"](outputs, space)[1:] == pytest.approx([0.5, 0], abs=1e-6)


def test_rows_are_chosen_far_from_each_other_and_weighed_by_how_unsure_they_are() -> None:
    texts = ["red apple pie", "red apple tart", "blue sea wave", "green hill path"]
    found = [shingles(text) for text in texts]
    weights, apart = np.array([1.0, 0.9, 0.5, 0.2]), np.ones(4)
    # The second is the next least sure, and near the first: 0.9 x (1 - cosine) is less than 0.5.
    assert diverse(vectors_of(texts), weights, apart, 3, found, 0.8) == ([0, 2, 1], 0)
    assert diverse(vectors_of(texts), weights, np.array([0.1, 1, 1, 1]), 1, found, 0.8) == ([1], 0)


def test_near_duplicates_of_a_chosen_row_are_passed_over_and_counted() -> None:
    texts = ["the ship and the bread", "The ship, and the bread!", "a hill"]
    found = [shingles(text) for text in texts]
    assert diverse(vectors_of(texts), np.ones(3), np.ones(3), 3, found, 0.8) == ([0, 2], 1)
    assert diverse(csr_matrix((0, 0)), np.ones(0), np.ones(0), 3, [], 0.8) == ([], 0)


@pytest.mark.parametrize(
    ("one", "other", "jaccard", "same"),
    [
        ("Bread & ship", "bread ship", 1.0, True),
        ("the bread and the ship", "the bread and the ships", 0.8, True),
        ("the bread and the ship", "the bread and the ships", 1.0, False),
        ("the bread", "the ship", 0.5, False),
        ("!!!", "???", 0.5, False),
        ("a", "b", 0.5, False),
        ("लड़का जाता है।", "लड़की जाती है।", 0.8, False),  # the boy, the girl: vowel signs are letters
        ("ไม่ใช่", "ไม้ใช้", 1.0, False),
    ],
)
def test_texts_repeat_each_other_as_they_do_for_clean(one: str, other: str, jaccard: float, *, same: bool) -> None:
    assert shingles(one).repeats(shingles(other), jaccard) is same


def test_proposals_are_unsure_and_repeat_neither_training_rows_nor_each_other(project: Paths) -> None:
    found = proposed(project, len(UNLABELLED))
    texts = [one.row.text for one in found]
    assert "bread, written by a baker" not in texts  # a training row
    assert sum("said" in text and "bread" in text for text in texts) == 1  # of two near duplicates one
    assert len(set(texts)) == len(texts) == len(UNLABELLED) - 2
    first = [one.uncertainty for one in proposed(project, 3)]
    assert first == [1, 1, 1]  # those of which the model knows no word, or both


def test_rows_are_compared_as_cleaning_leaves_them(project: Paths) -> None:
    pool = candidates.of_project(project, most=1000, seed=1).rows
    marked = [replace(row, text=f"<b class='of-a-page'>{row.text}</b>") for row in pool]
    how = chooser(project, load_params(project.params), project.model("quantized"), 1, "margin")
    clean = replace(how.runner, clean=lambda text: re.sub("<[^>]*>", "", text))
    found = propose(marked, how._replace(runner=clean), 20, labelled=(), seed=1, on_rows=lambda _: None)
    assert len(found.rows) == len(UNLABELLED) - 2
    assert all(one.row.text.startswith("<b") for one in found.rows)


def test_the_same_seed_proposes_the_same_rows_and_another_draws_others(project: Paths) -> None:
    texts = [[one.row.text for one in proposed(project, 3, seed=seed)] for seed in (5, 5)]
    assert texts[0] == texts[1]
    pools = [[row.row_id for row in candidates.of_project(project, most=4, seed=seed).rows] for seed in (1, 1, 2, 3)]
    assert pools[0] == pools[1]
    assert len({tuple(pool) for pool in pools}) > 1
    assert [len(pool) for pool in pools] == [4] * 4


def test_without_an_uncertainty_rows_are_chosen_by_how_they_differ(project: Paths) -> None:
    found = proposed(project, 4, by=None)
    assert [one.uncertainty for one in found] == [None] * 4
    assert len({one.row.text for one in found}) == 4


def test_every_row_is_as_likely_drawn() -> None:
    from flows.labelling.candidates import _drawn
    from flows.labelling.listed import Listed

    rows = [Listed(str(at), "text") for at in range(10)]
    counts = np.zeros(10)
    for seed in range(600):
        pool = _drawn(rows, 3, seed)
        assert (len(pool.rows), pool.of) == (3, 10)
        counts[[int(row.row_id) for row in pool.rows]] += 1
    assert (np.abs(counts - 180) < 60).all()  # 4.5 standard deviations are 51


def test_rows_that_clean_dropped_for_want_of_a_label_are_proposed_where_there_is_no_transfer_row(
    tmp_path: Path,
) -> None:
    paths = write_project(tmp_path, TRAINING, ())
    with pytest.raises(ValueError, match=r"no rows of the split 'transfer', and .* none that lack a label"):
        candidates.of_project(paths, most=10, seed=1)
    table = pq.read_table(paths.quarantine)
    rows = [
        {"row_id": "q1", "text": "a text", "label": None, "origin": "a.csv:2", "reason": "missing_label"},
        {"row_id": "q2", "text": "other", "label": "sea", "origin": "a.csv:3", "reason": "too_short"},
    ]
    pq.write_table(table.from_pylist(rows, table.schema), paths.quarantine)
    raw = pq.read_table(paths.raw)  # where what `ingest` kept of them still stands
    kept = [{"row_id": "q1", "text": "a text", "label": None, "origin": "a.csv:2", "kept": '{"patient": "p7"}'}]
    pq.write_table(raw.from_pylist(kept, raw.schema), paths.raw)
    (found,) = candidates.of_project(paths, most=10, seed=1).rows
    assert (found.row_id, found.kept) == ("q1", {"patient": "p7"})


def test_what_is_listed_of_a_project_is_as_it_was_ingested_not_as_it_was_cleaned(project: Paths) -> None:
    raw = pq.read_table(project.raw)
    rows = [{**row, "text": f"<b>{row['text']}</b>", "kept": '{"who": "x"}'} for row in raw.to_pylist()]
    pq.write_table(raw.from_pylist(rows, raw.schema), project.raw)
    found = candidates.of_project(project, most=3, seed=1).rows
    assert all(row.text.startswith("<b>") and row.kept == {"who": "x"} for row in found)


def test_of_a_file_the_rows_with_a_text_and_no_label_are_proposed(project: Paths) -> None:
    Path("new.csv").write_text("body;label\nfirst;\n;\nsecond;sea\nthird;  \n")
    ingest = load_params(project.params).ingest
    found = candidates.of_file("new.csv", ingest, TextColumns("body", None), most=10, seed=1)
    assert [(row.text, row.origin) for row in found.rows] == [("first", "new.csv:2"), ("third", "new.csv:5")]
    assert (found.of, found.skipped) == (2, 2)
    assert all(row.row_id.isalpha() for row in found.rows)  # no spreadsheet makes a number of it
    Path("lines.txt").write_text("one\n\ntwo\n")
    found = candidates.of_file("lines.txt", ingest, TextColumns(None, None), most=9, seed=1)
    assert [row.text for row in found.rows] == ["one", "two"]
    with pytest.raises(FileNotFoundError, match=r"there is no file none\.csv"):
        candidates.of_file("none.csv", ingest, TextColumns(None, None), most=9, seed=1)


def test_labels_and_kept_columns_are_found_within_objects(project: Paths) -> None:
    rows = [
        {"body": "first", "meta": {"label": "sea", "by": "X"}},
        {"body": "second", "meta": {"label": None, "by": "Y"}},
        {"body": "third", "meta": None},
    ]
    Path("nested.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ingest = load_params(project.params).ingest
    columns = ingest.columns.model_copy(update={"label": "meta.label"})
    ingest = ingest.model_copy(update={"columns": columns, "keep_columns": ["meta.by"]})
    found = candidates.of_file("nested.jsonl", ingest, TextColumns("body", None), most=10, seed=1)
    assert (found.of, found.skipped) == (2, 1)
    assert [(row.text, row.kept) for row in found.rows] == [
        ("second", {"meta.by": "Y"}), ("third", {"meta.by": None}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "written"),
    [("=1+1", "'=1+1"), ("-3.5", "-3.5"), ("+49 30", "'+49 30"), ("@you", "'@you"), ("plain", "plain"), ("'=a", "'=a")],
)
def test_what_a_spreadsheet_would_run_is_written_behind_an_apostrophe(cell: str, written: str) -> None:
    assert escaped(cell) == written
    assert key_of(escaped(cell)) == key_of(cell)
    assert unescaped(written) == (cell if cell != "'=a" else "=a")


def test_the_command_writes_a_table_and_a_page_and_remembers_the_rows(
    project: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    said = labelled(capsys, "propose", "-n", "6", "-o", "a.csv", "-o", "a.html", "-o", "a.jsonl")
    assert said.code == 0
    rows = rows_of(Path("a.csv"))
    assert list(rows[0]) == ["row_id", "text", "suggestion", "probability", "label"]
    assert {row["label"] for row in rows} == {""}
    assert "'=bread & ship, a formula" in {row["text"] for row in rows}
    assert "=bread & ship, a formula" in {json.loads(line)["text"] for line in Path("a.jsonl").read_text().splitlines()}
    assert {row.row_id for row in listed(project)} == {row["row_id"] for row in rows}
    assert "winnow: 6 rows proposed of 12 without a label; 1 repeat others." in said.err
    assert said.err[-1].endswith("`winnow label take`. Allowed: kitchen, sea.")
    assert "<title>Winnow: 6 rows to label</title>" in Path("a.html").read_text()


def test_without_a_file_the_first_are_printed_and_none_is_remembered(
    project: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    said = labelled(capsys, "propose", "-n", "2")
    assert [line.split("\t")[1] for line in said.lines] == ["0.5000", "0.5000"]
    assert listed(project) == []


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--by", "luck"], 2, "--by luck. Allowed for the task: margin, entropy."),
        (["--text-column", "a"], 2, "--text-column and --text-pair-column are about a FILE."),
        (["-o", "a.xlsx"], 1, "a file of answers ends in .csv, .tsv, .jsonl, .parquet"),
        (["-o", "no/a.csv"], 1, "there is no folder no"),
        (["--model", "nowhere"], 1, "no model there"),
        (["a.csv"], 1, "there is no file a.csv"),
    ],
)
def test_what_cannot_be_proposed_is_told(
    project: Paths, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, told: str
) -> None:
    said = labelled(capsys, "propose", *arguments)
    assert said.code == code
    assert told in "\n".join(said.err)


def test_tasks_whose_rows_nobody_can_label_so_are_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = write_project(tmp_path, TRAINING, task__name="token_classification", task__measure="entity_f1")
    monkeypatch.chdir(paths.root)
    for command in (["propose"], ["errors"], ["take", "a.csv"]):
        assert labelled(capsys, *command).err == [
            "winnow: params.yaml: task.name is 'token_classification', whose rows `winnow label` cannot have labelled."
            " Allowed: multilabel_classification, regression, text_classification."
        ]


@pytest.mark.parametrize(
    ("files", "changes", "place", "told"),
    [
        (["data/reviews.csv"], {}, "data/labelled.csv", "set `path: data` under ingest"),
        (["data/a.csv"], {"ingest__path": "data"}, "data/labelled.csv", "is read, and this file with it"),
        (["data/train.csv", "data/test.csv"], {"ingest__path": "data"}, "data/train/labelled.csv", "'train'"),
        # What `ingest` does not take for a split is none here.
        (["data/Train.csv"], {"ingest__path": "data"}, "data/labelled.csv", "and this file with it."),
        (
            ["data/a.csv", "data/test/README.md"],
            {"ingest__path": "data"},
            "data/labelled.csv",
            "and this file with it.",
        ),
        (["data/a.csv", "data/train/.hidden.csv"], {"ingest__path": "data"}, "data/labelled.csv", "with it."),
        (["data/a.csv", "data/test/_old.csv"], {"ingest__path": "data"}, "data/labelled.csv", "with it."),
        (
            ["data/a.csv"],
            {"ingest__path": "data", "ingest__pattern": "*.csv"},
            "data/labelled.csv",
            "ingest.pattern is",
        ),
        ([], {"ingest__path": "s3://bucket/rows"}, "data/labelled.csv", "outside of the project"),
        ([], {"ingest__source": "docstrings"}, "data/labelled.csv", "reads no file of yours"),
    ],
)
def test_where_labelled_rows_go_and_what_makes_ingest_read_them(
    tmp_path: Path, files: list[str], changes: dict[str, str], place: str, told: str
) -> None:
    paths = write_project(tmp_path, TRAINING, **changes)
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text,label\n")
    found = place_of(paths.root, load_params(paths.params).ingest)
    assert found.path == Path(place)
    assert told in found.next_step
