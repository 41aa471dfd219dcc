"""Nested JSON of questions: what is read of it, and broken files, each told with its place and the next step."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from source_fixtures import project_params, read, settings

from stages.core.contracts import TARGET, RawRow
from stages.core.files import read_json
from stages.core.params.ingest import IngestParams
from stages.core.paths import Paths
from stages.ingest import ingest

ANSWERS = frozenset({TARGET})  # that may be lists and objects
COLUMNS = {"text": "context", "text_pair": "question", "label": "answers"}
DENVER = "The Broncos won in Denver, by 24 to 10."
LAKE = "The lake is 500 m deep."
GOOD: dict[str, Any] = {
    "version": "v2.0",
    "data": [
        {
            "title": "Denver",
            "paragraphs": [
                {
                    "context": DENVER,
                    "qas": [
                        {"id": "a", "question": "Who won?", "is_impossible": False,
                         "answers": [{"text": "The Broncos", "answer_start": 0},
                                     {"text": "Broncos", "answer_start": 4}]},
                        {"id": "b", "question": "Who lost?", "is_impossible": True, "answers": [],
                         "plausible_answers": [{"text": "Denver", "answer_start": 19}]},
                    ],
                },
                {"context": LAKE, "qas": [
                    {"id": "c", "question": "How deep is it?", "answers": [{"text": "500 m", "answer_start": 12}]},
                ]},
            ],
        }
    ],
}  # fmt: skip


def params(path: Path, **changes: Any) -> IngestParams:
    return settings(path, columns=COLUMNS, **changes)


def ingested(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """The rows that the stage reads, those that it does not, and its report."""
    whole, paths = project_params(params(path)), Paths(path.parent / "project")
    task = whole.task.model_copy(update={"name": "question_answering", "measure": "token_f1"})
    ingest(whole.model_copy(update={"task": task}), paths)
    kept, rejected = (pq.read_table(one).to_pylist() for one in (paths.raw, paths.unreadable))
    return kept, rejected, read_json(paths.ingest_report)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_a_question_is_a_row_with_the_values_around_it(tmp_path: Path, indent: int | None, name: str) -> None:
    content = json.dumps(GOOD, indent=indent).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    rows = list(read(tmp_path / name, columns=COLUMNS, keep_columns=["title", "id"], structured=ANSWERS))
    assert [row for row in rows if not isinstance(row, RawRow)] == []
    assert [(row.text, row.text_pair, row.origin, row.kept) for row in rows if isinstance(row, RawRow)] == [
        (DENVER, "Who won?", f"{name}:1", '{"id": "a", "title": "Denver"}'),
        (DENVER, "Who lost?", f"{name}:2", '{"id": "b", "title": "Denver"}'),
        (LAKE, "How deep is it?", f"{name}:3", '{"id": "c", "title": "Denver"}'),
    ]


def test_the_answers_of_a_file_become_quotes_and_questions_about_one_text_a_group(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(GOOD))
    kept, rejected, report = ingested(tmp_path / "a.json")
    assert [row["label"] for row in kept] == ['[[0,"The Broncos"],[4,"Broncos"]]', "[]", '[[12,"500 m"]]']
    assert kept[0]["group"] == kept[1]["group"] != kept[2]["group"]
    assert (rejected, report["read"], report["kept"]) == ([], 3, 3)


def test_a_mark_of_the_encoding_and_characters_beyond_ascii_are_read(tmp_path: Path) -> None:
    good = deepcopy(GOOD)
    good["data"][0]["title"] = "Zürich 東京 \U0001f3c8"
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "a.json").write_bytes(json.dumps(good, ensure_ascii=False).encode(encoding))
        (row, *_) = read(tmp_path / "a.json", columns=COLUMNS, keep_columns=["title"], structured=ANSWERS)
        assert isinstance(row, RawRow)
        assert row.kept == '{"title": "Zürich 東京 \U0001f3c8"}'


def test_objects_a_line_under_the_same_ending_are_still_read(tmp_path: Path) -> None:
    line = {"context": LAKE, "question": "How deep?", "data": [1], "answers": {"text": ["500 m"], "answer_start": [12]}}
    (tmp_path / "a.json").write_text(f"{json.dumps(line)}\n{json.dumps(line)}\n")
    kept, _, _ = ingested(tmp_path / "a.json")
    assert [(row["label"], row["origin"]) for row in kept] == [('[[12,"500 m"]]', f"a.json:{at}") for at in (1, 2)]


def test_lines_whose_first_object_has_paragraphs_are_lines(tmp_path: Path) -> None:
    answers = {"text": ["500 m"], "answer_start": [12]}
    line = {"paragraphs": [{"idx": 0}], "context": LAKE, "question": "How deep?", "answers": answers}
    (tmp_path / "a.json").write_text(f"{json.dumps(line)}\n{json.dumps(line)}\n")
    kept, _, _ = ingested(tmp_path / "a.json")
    assert [row["origin"] for row in kept] == ["a.json:1", "a.json:2"]


WHOLE_FILES = {
    "torn": (json.dumps(GOOD, indent=1)[:400], ("a.json, line ", ", column ", "not JSON", "Write or fetch it again")),
    "without data": (
        json.dumps({"version": "v2.0", "articles": GOOD["data"]}),
        ("a.json: no `data`", "Found: version, articles", 'Expected {"data": [{"paragraphs"', "or an object a line"),
    ),
    "data misspelt": (
        json.dumps({"version": "v2.0", "Data": GOOD["data"]}),
        ("a.json: no `data`", "Did you mean 'Data'?"),
    ),
    "data that is an object": (
        json.dumps({"data": {"title": "Denver", "paragraphs": GOOD["data"][0]["paragraphs"]}}),
        ("a.json: `data` is an object", "Expected"),
    ),
    "an array of articles": (json.dumps(GOOD["data"]), ("a.json, line 1: the file is one JSON array", "jq -c '.[]'")),
    "without articles": (json.dumps({"version": "v2.0", "data": []}), ("a.json has no rows", "written to the end")),
    "nothing but a version": (
        json.dumps({"version": "v2.0"}),
        ("a.json: none of its rows can be read", "no column 'context' (ingest.columns.text)", "Found: version"),
    ),
    "empty": ("", ("a.json is empty (0 bytes)", "Check that it was written")),
    "columns of another name": (
        json.dumps({"data": [{"paragraphs": [{"text": LAKE, "qas": [{"question": "How deep?", "answers": []}]}]}]}),
        ("none of its rows can be read", "data[0].paragraphs[0].qas[0]: no column 'context'", "Did you mean 'text'?"),
    ),
}


@pytest.mark.parametrize("name", WHOLE_FILES)
def test_a_file_that_is_broken_as_a_whole_is_named_with_the_next_step(tmp_path: Path, name: str) -> None:
    content, says = WHOLE_FILES[name]
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match=r"\.$") as raised:
        ingested(tmp_path / "a.json")
    assert [part for part in says if part not in str(raised.value)] == [], str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list(Paths(tmp_path / "project").raw.parent.iterdir())


Spoil = Callable[[dict[str, Any]], object]


def question(found: dict[str, Any], at: int = 0) -> dict[str, Any]:
    return found["data"][0]["paragraphs"][0]["qas"][at]


def paragraph(found: dict[str, Any]) -> dict[str, Any]:
    return found["data"][0]["paragraphs"][0]


def answered(**changes: Any) -> Spoil:
    return lambda found: question(found)["answers"][0].update(changes)


AT = "data[0].paragraphs[0].qas[0] (id 'a')"
SINGLE_ROWS: dict[str, tuple[Spoil, str, int, tuple[str, ...]]] = {
    # what is wrong: how it comes about, the reason, how many rows are left, what is said
    "an answer that begins elsewhere": (
        answered(answer_start=1), "bad_target", 2,
        ("the answer 'The Broncos' is said to begin at character 1", "where 'he Broncos won", "nearest such place is 0",
         "Count characters from 0"),
    ),
    "an answer that is nowhere": (
        answered(text="the broncos"), "bad_target", 2,
        ("the answer 'the broncos'", "it is nowhere in the text", "Quote the text as it is"),
    ),
    "an answer behind the text's end": (
        answered(answer_start=900), "bad_target", 2, ("at character 900", f"which has {len(DENVER)}", "place is 0"),
    ),
    "an answer before the text's start": (answered(answer_start=-3), "bad_target", 2, ("at character -3", "is 0")),
    "an answer without a start": (
        lambda found: question(found)["answers"][0].pop("answer_start"), "bad_target", 2,
        ('{"text": "The Broncos"} is no answer: a whole number and a text', "Allowed: "),
    ),
    "a start that is a text": (answered(answer_start="0"), "bad_target", 2, ("is no answer", "Allowed: ")),
    "a start that is a fraction": (answered(answer_start=0.5), "bad_target", 2, ("is no answer", "Allowed: ")),
    "a start that is true": (answered(answer_start=True), "bad_target", 2, ("is no answer", "Allowed: ")),
    "an empty answer": (answered(text=" "), "bad_target", 2, ("an answer is empty", "[] where the text does not")),
    "answers that are a text": (
        lambda found: question(found).update(answers="The Broncos"), "bad_target", 2,
        ("the answers 'The Broncos' are no JSON", "Allowed: "),
    ),
    "answers that are a number": (
        lambda found: question(found).update(answers=7), "bad_target", 2, ("the answers are 7", "Allowed: "),
    ),
    "texts without starts": (
        lambda found: question(found).update(answers={"text": ["The Broncos"]}), "bad_target", 2,
        ("the answers have no 'answer_start', but text", "Allowed: "),
    ),
    "more texts than starts": (
        lambda found: question(found).update(answers={"text": ["The", "Broncos"], "answer_start": [0]}), "bad_target",
        2, ("'text' is [\"The\", \"Broncos\"] and 'answer_start' [0], not as many", "Allowed: "),
    ),
    "no answers": (
        lambda found: question(found).pop("answers"), "missing_column", 2,
        (f"{AT}: no column 'answers' (ingest.columns.label)", "Set ingest.columns.label"),
    ),
    "no question": (
        lambda found: question(found).pop("question"), "missing_column", 2,
        (f"{AT}: no column 'question' (ingest.columns.text_pair)", "Set ingest.columns.text_pair"),
    ),
    "an id twice": (
        lambda found: question(found, 1).update(id="a"), "repeated_id", 2,
        ("data[0].paragraphs[0].qas[1] (id 'a'): a question before it has the same id", "Give each its own"),
    ),
    "impossible, with answers": (
        lambda found: question(found).update(is_impossible=True), "bad_target", 2,
        (f"{AT}: `is_impossible` is true, and it has answers", "Make it false, or its answers []"),
    ),
    "possible, without an answer": (
        lambda found: question(found, 1).update(is_impossible=False), "bad_target", 2,
        ("qas[1] (id 'b'): `is_impossible` is false, and it has no answers", "Make it true, or give it one"),
    ),
    "is_impossible that is a text": (
        lambda found: question(found).update(is_impossible="no"), "wrong_type", 2,
        (f"{AT}: `is_impossible` is a text. Allowed: true, false",),
    ),
    "a question that is a text": (
        lambda found: paragraph(found)["qas"].append("Who?"), "not_an_object", 3,
        ("data[0].paragraphs[0].qas[2]: a text, expected an object", "The layout is"),
    ),
    "a question that is a list": (
        lambda found: question(found).update(question=["Who won?"]), "wrong_type", 2,
        (f"{AT}: the column 'question' (ingest.columns.text_pair) holds an array, expected a text",),
    ),
    "a paragraph without questions": (
        lambda found: paragraph(found).pop("qas"), "missing_column", 1,
        ("data[0].paragraphs[0]: no `qas`. Found: context", "The layout is"),
    ),
    "questions of another name": (
        lambda found: paragraph(found).update(qs=paragraph(found).pop("qas")), "missing_column", 1,
        ("data[0].paragraphs[0]: no `qas`. Found: context, qs.", "Did you mean 'qs'?"),
    ),
    "questions that are an object": (
        lambda found: paragraph(found).update(qas=question(found)), "wrong_type", 1,
        ("data[0].paragraphs[0]: `qas` is an object, expected an array",),
    ),
    "an article that is null": (
        lambda found: found["data"].append(None), "not_an_object", 3, ("data[1]: null, expected an object",),
    ),
    "an article without paragraphs": (
        lambda found: found["data"].append({"title": "x"}), "missing_column", 3,
        ("data[1]: no `paragraphs`. Found: title",),
    ),
    "half a surrogate pair": (
        lambda found: question(found).update(question="Who \ud83d?"), "not_json", 2,
        (f"{AT}: half a surrogate pair", "Write the file again"),
    ),
    "a NUL byte": (
        lambda found: question(found).update(question="Who\0 won?"), "nul", 2, (f"{AT}: a NUL byte", "tr -d"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SINGLE_ROWS)
def test_a_question_that_is_broken_is_told_with_its_place_and_the_others_are_read(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    spoil, reason, left, says = SINGLE_ROWS[name]
    found = deepcopy(GOOD)
    spoil(found)
    (tmp_path / "a.json").write_text(json.dumps(found, indent=1))
    kept, rejected, report = ingested(tmp_path / "a.json")
    (row,) = rejected
    assert (row["reason"], len(kept)) == (reason, left)
    assert [part for part in says if part not in row["detail"]] == [], row["detail"]
    first = caplog.records[0].getMessage()
    assert first.startswith(f"ingest: {row['origin']}: {reason}: ")
    assert row["origin"].startswith("a.json:")
    assert (report["read"], report["kept"], report["quarantined"]) == (left + 1, left, 1)
    assert report["quarantined_by_reason"][reason] == 1


def test_text_that_the_encoding_has_no_character_for_is_one_questions_fault(tmp_path: Path) -> None:
    content = json.dumps(GOOD, indent=1).encode().replace(b"How deep", b"How d\xe9p")
    (tmp_path / "a.json").write_bytes(content)
    kept, (row,), _ = ingested(tmp_path / "a.json")
    assert (len(kept), row["reason"], row["origin"]) == (2, "not_text", "a.json:3")
    assert "byte 0xe9 has no meaning in the file's encoding" in row["detail"]


def test_a_passage_that_is_too_long_is_told(tmp_path: Path) -> None:
    found = deepcopy(GOOD)
    found["data"][0]["paragraphs"][1]["context"] = LAKE * 100
    (tmp_path / "a.json").write_text(json.dumps(found))
    *_, last = read(tmp_path / "a.json", columns=COLUMNS, max_row_chars=1000, structured=ANSWERS)
    assert not isinstance(last, RawRow)
    assert (last.origin, last.reason) == ("a.json:3", "too_long")
