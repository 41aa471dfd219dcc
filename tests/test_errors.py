"""`winnow errors`: which test rows are answered wrongly, the training rows beside them, and the page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import page_fixtures
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from flow_fixtures import ROOT
from sklearn.feature_extraction.text import TfidfVectorizer

from flows.answering import neighbours
from flows.answering.errors import NUMBERS, as_rows, wrong_rows
from flows.answering.errors_page import render
from flows.answering.neighbours import nearest
from flows.answering.terminal import shortened
from flows.answering.writing import write_rows
from flows.cli.commands import main
from stages.core.paths import Paths

browser = page_fixtures.browser

TRAINING = ["fresh bread and butter", "a ship at sea", "bread", "the sea is wide", "soup"]
TESTED = [  # row_id, text, truth, answer, score, confidence
    ("t1", "bread at sea", "kitchen", "sea", 0.0, 0.6),
    ("t2", "a ship", "sea", "sea", 1.0, 0.9),
    ("t3", "<i>soup</i> soup \x1bsoup", "kitchen", "sea", 0.0, 0.95),
    ("t4", "wide", "sea", "kitchen", 0.0, 0.95),
]


Tested = Sequence[tuple[str, str, str, str, float, float | None]]


def write(root: Path, rows: Tested = TESTED, task: str = "text_classification") -> Paths:
    """A project in which a model was evaluated."""
    paths = Paths(root)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["task"] = {"name": task, "measure": "accuracy"}
    paths.clean.parent.mkdir(parents=True)
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    clean = [{"row_id": row[0], "text": row[1], "label": row[2], "split": "test"} for row in rows]
    clean += [
        {"row_id": f"r{at}", "text": text, "label": "sea" if "sea" in text else "kitchen", "split": "train"}
        for at, text in enumerate(TRAINING)
    ]
    pq.write_table(pa.Table.from_pylist(clean), paths.clean)
    names = ("row_id", "text", "truth", "answer", "score", "confidence")
    table = pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows]).drop_columns("text")
    table = table.append_column("slice: length", pa.array(["short"] * len(rows)))
    paths.predictions("quantized").parent.mkdir(parents=True)
    pq.write_table(table, paths.predictions("quantized"))
    return paths


def test_wrong_answers_come_surest_first_with_their_slices(tmp_path: Path) -> None:
    found = wrong_rows(write(tmp_path), "quantized", limit=10, neighbours=1)
    assert (found.wrong, found.of, found.by_confidence, found.score) == (3, 4, True, "accuracy")
    assert [row.row_id for row in found.rows] == ["t3", "t4", "t1"]
    assert found.rows[0].slices == {"length": "short"}
    assert [row.near[0].text for row in found.rows] == ["soup", "the sea is wide", "a ship at sea"]


def test_no_more_rows_than_the_limit_but_all_are_counted(tmp_path: Path) -> None:
    found = wrong_rows(write(tmp_path), "quantized", limit=1, neighbours=0)
    assert ([row.row_id for row in found.rows], found.wrong) == (["t3"], 3)
    assert found.rows[0].near == ()


def test_without_a_confidence_those_farthest_from_the_truth_come_first(tmp_path: Path) -> None:
    rows = [("a", "x", "1", "1.2", 0.9, None), ("b", "y", "3", "1.2", 0.1, None), ("c", "z", "2", "2", 1.0, None)]
    found = wrong_rows(write(tmp_path, rows, "regression"), "quantized", limit=10, neighbours=1)
    assert (found.by_confidence, [row.row_id for row in found.rows]) == (False, ["b", "a"])
    assert "Those that are farthest from the truth come first." in render(found)


def test_spans_are_shown_in_words(tmp_path: Path) -> None:
    rows = [("a", "Ada met Bo.", '[[0,3,"person"]]', "[]", 0.0, 0.8)]
    (row,) = wrong_rows(write(tmp_path, rows, "token_classification"), "quantized", limit=10, neighbours=0).rows
    assert (row.truth_words, row.answer_words) == ('person: "Ada"', "(none)")


def test_predictions_of_other_rows_are_refused(tmp_path: Path) -> None:
    paths = write(tmp_path)
    table = pq.read_table(paths.clean)
    pq.write_table(table.slice(1), paths.clean)
    with pytest.raises(ValueError, match=r"has the row t1, and .* has it not among its test rows"):
        wrong_rows(paths, "quantized", limit=10, neighbours=0)


def test_predictions_of_other_texts_in_the_same_places_are_refused(tmp_path: Path) -> None:
    """A line more on top of a file: each id is that of the row before."""
    paths = write(tmp_path)
    table = pq.read_table(paths.clean).to_pylist()
    other = [{**row, "label": "attic"} if row["row_id"] == "t1" else row for row in table]
    pq.write_table(pa.Table.from_pylist(other), paths.clean)
    with pytest.raises(ValueError, match=r"has the row t1, and .* or with another target"):
        wrong_rows(paths, "quantized", limit=10, neighbours=0)
    pq.write_table(pa.Table.from_pylist(table), paths.clean)
    clean = {"path": "artifacts/data/clean.parquet"}
    stages = {"clean": {"outs": [clean | {"md5": "2"}]}, "evaluate@quantized": {"deps": [clean | {"md5": "1"}]}}
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"clean": {}, "evaluate": {"foreach": [], "do": {}}}}))
    with pytest.raises(ValueError, match=r"is of other rows than .*, as dvc.lock says. Run `winnow reproduce"):
        wrong_rows(paths, "quantized", limit=10, neighbours=0)


def test_a_model_that_was_not_evaluated_is_told_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="winnow reproduce --stage evaluate@teacher"):
        wrong_rows(write(tmp_path), "teacher", limit=10, neighbours=0)


def test_the_table_has_a_column_for_each_slice_and_for_each_training_row_beside(tmp_path: Path) -> None:
    found = wrong_rows(write(tmp_path), "quantized", limit=1, neighbours=2)
    write_rows(str(tmp_path / "errors.jsonl"), as_rows(found), NUMBERS)
    row = json.loads((tmp_path / "errors.jsonl").read_text())
    assert list(row) == [
        "row_id", "text", "truth", "answer", "score", "probability", "slice: length",
        "near_1_text", "near_1_truth", "near_1_similarity",
    ]  # fmt: skip
    assert (row["near_1_text"], row["near_1_truth"]) == ("soup", "kitchen")  # no other shares a word


def test_the_page_shows_hostile_texts_as_text(tmp_path: Path) -> None:
    page = render(wrong_rows(write(tmp_path), "quantized", limit=10, neighbours=3))
    assert "&lt;i&gt;soup&lt;/i&gt;" in page
    assert "<i>soup" not in page
    assert 'data-truth="kitchen" data-answer="sea"' in page


def test_what_can_be_right_in_part_has_its_score_and_what_cannot_has_not(tmp_path: Path) -> None:
    labels = wrong_rows(write(tmp_path / "labels"), "quantized", limit=10, neighbours=0)
    assert labels.told == "3 of 4 answers of quantized to test rows are not right."
    assert "Accuracy" not in render(labels)
    rows = [("a", "x", "1", "1.2", 0.9, None), ("b", "y", "3", "1.2", 0.0, None)]
    numbers = wrong_rows(write(tmp_path / "numbers", rows, "regression"), "quantized", limit=10, neighbours=0)
    assert numbers.told == "2 of 2 answers of quantized to test rows are not right, or not wholly."
    assert "90.0%" in render(numbers)


def test_a_text_is_cut_between_words_with_an_ellipsis() -> None:
    assert shortened("one  two\nthree", 13) == "one two three"
    assert shortened("one two three", 12) == "one two…"
    assert shortened("one twothreefourfive", 12) == "one twothre…"  # no blank where a cut would leave enough


def test_nothing_of_the_page_is_cut_off_and_no_label_broken_in_a_word(tmp_path: Path, browser: Any) -> None:
    long = "wrong_exchange_rate_for_cash_withdrawal"
    rows = [
        (
            f"t{at}",
            "why was I charged so much bread at sea when I asked for a ship, and soup",
            long,
            f"card_{long}",
            0.0,
            0.9,
        )
        for at in range(3)
    ]
    page = tmp_path / "errors.html"
    page.write_text(render(wrong_rows(write(tmp_path, rows), "quantized", limit=10, neighbours=3)), encoding="utf-8")
    shown = browser.new_page(viewport={"width": 1100, "height": 900})
    shown.goto(page.as_uri())
    scroll = shown.locator(".scroll").first
    assert scroll.evaluate("one => one.scrollWidth - one.clientWidth") == 0
    # The longest word between underscores fits: nothing is wider than its cell, and no line ends in a word.
    ends = shown.locator("td.label").first.evaluate("""cell => [...cell.childNodes]
        .filter(node => node.nodeType === 3)
        .map(node => { const range = document.createRange(); range.selectNodeContents(node); return range; })
        .map(range => range.getClientRects().length)""")
    assert {*ends} == {1}
    assert shown.locator("td.label").first.text_content() == long  # as it is searched and copied
    shown.close()


def test_similarities_are_the_cosines_of_scikit_learns_tf_idf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write(tmp_path)
    monkeypatch.setattr(neighbours, "ROWS", 2)  # more than one batch, and more than one block of one
    monkeypatch.setattr(neighbours, "COMPARED", 2)
    texts = ["bread at sea", "wide wide ship"]
    vectorizer = TfidfVectorizer(sublinear_tf=True).fit(TRAINING)
    # scikit-learn leaves words that no training row has out of a text's length: these texts have none such.
    expected = (vectorizer.transform(texts) @ vectorizer.transform(TRAINING).T).toarray()
    for own, row in zip(nearest(paths.clean, texts, 5), expected, strict=True):
        assert {near.text: near.similarity for near in own} == {
            text: pytest.approx(value, abs=1e-4) for text, value in zip(TRAINING, row, strict=True) if value > 0
        }
        assert [near.similarity for near in own] == sorted((near.similarity for near in own), reverse=True)


def test_scripts_without_blanks_are_compared_by_characters(tmp_path: Path) -> None:
    paths = write(tmp_path)
    table = pa.Table.from_pylist([
        {"row_id": "1", "text": "今天天气很好", "label": "sea", "split": "train"},
        {"row_id": "2", "text": "我喜欢面包", "label": "kitchen", "split": "train"},
    ])  # fmt: skip
    pq.write_table(table, paths.clean)
    ((near, *_),) = nearest(paths.clean, ["天气不好"], 2)
    assert near.row_id == "1"


def test_the_command_writes_a_table_and_a_page_and_prints_the_surest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path).model("quantized").mkdir(parents=True)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, list[str], str]:
        with pytest.raises(SystemExit) as ended:
            main(["errors", *arguments])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out.splitlines(), said.err

    assert "of them" not in run()[2]  # all are shown
    code, out, err = run("--limit", "1")
    assert (len(out), err.partition(" not right. ")[2]) == (
        1, "1 of them are shown; all with -o FILE, or as many as --limit says.\n"
    )  # fmt: skip
    assert run("--limit", "1", "-o", "some.csv")[2].endswith("1 of them are written; all with --limit 3.\n")
    code, out, err = run()
    assert (code, out[0]) == (0, "0.9500\tsea\tnot kitchen\t<i>soup</i> soup  soup")
    assert "3 of 4 answers of quantized to test rows are not right" in err
    assert run("-o", "errors.csv", "-o", "errors.html")[:2] == (0, [])
    rows = pq.read_table(Paths(tmp_path).clean).to_pylist()
    formula = [{**row, "text": f"=1+1 {row['text']}"} for row in rows]
    pq.write_table(pq.read_table(Paths(tmp_path).clean).from_pylist(formula), Paths(tmp_path).clean)
    assert run("-o", "formula.csv")[0] == 0
    assert "'=1+1 " in Path("formula.csv").read_text()
    assert Path("errors.csv").read_text().startswith("row_id,text,truth,answer,score,probability,slice: length,near_1_")
    assert "<title>Winnow: errors of quantized</title>" in Path("errors.html").read_text()
    assert run("-o", "errors.xlsx")[0] == 1
    assert run("-o", "no/errors.html")[2] == "winnow: -o no/errors.html: there is no folder no. Make it first.\n"
