"""`winnow predict --file`: what of a file is answered, and what becomes of the rest."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import predict_fixtures
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flow_fixtures import change, environment, make_project, winnow
from predict_fixtures import Said, predicted

from flows.cli import answers, asked
from flows.cli.answers import Row
from flows.cli.asked import Columns
from stages.core.contracts import Outputs, Runner, Text
from stages.tasks.text_classification.answers import ANSWERS as OF_CLASSES

ANSWERS = ["kitchen\t0.9933", "sea\t0.9526"]  # to "bread" and "ship": 1 / (1 + e^-5), 1 / (1 + e^-3)


model = predict_fixtures.model
Predict = Callable[..., Said]


@pytest.fixture
def predict(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Predict:
    """predict(file, content, ...): the command's exit code and lines, with that file where it is run."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, content: bytes | str, *options: str) -> Said:
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return predicted(model, capsys, "--file", name, *options)

    return run


CSV = 'id,text,owner\n1,bread,ann\n2,"the ship,\nat sea",bob\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tickets.csv", CSV),
        ("tickets.csv", CSV.replace(",", ";").replace("ship;", "ship,")),
        ("tickets.tsv", CSV.replace(",", "\t").replace("ship\t", "ship,")),
        ("tickets.CSV.gz", gzip.compress(CSV.encode())),
        ("tickets.jsonl", '{"id": 1, "text": "bread"}\n{"text": "the ship,\\nat sea", "id": 2}\n'),
    ],
    ids=["csv", "semicolons", "tsv", "gzipped", "jsonl"],
)
def test_the_text_column_of_a_table_is_answered_and_not_its_header_or_its_lines(
    predict: Predict, name: str, content: bytes | str
) -> None:
    said = predict(name, content)
    assert said == (0, f"{ANSWERS[0]}\tbread\n{ANSWERS[1]}\tthe ship, at sea\n", [])


def test_the_text_column_of_parquet_is_answered(predict: Predict, tmp_path: Path) -> None:
    texts = pa.array(["bread", None, "ship"]).dictionary_encode()
    pq.write_table(pa.table({"id": [1, 2, 3], "body": texts}), tmp_path / "made.parquet")
    said = predict("tickets.parquet", (tmp_path / "made.parquet").read_bytes(), "--text-column", "body")
    assert said.lines == [f"{ANSWERS[0]}\tbread", "null\tnull\t", f"{ANSWERS[1]}\tship"]
    assert said.err == [
        "winnow: 1 of 3 rows have no answer: 1 empty. The first: tickets.parquet, row 2: there is nothing to label."
    ]


def test_an_option_names_the_column_and_else_params_yaml_of_the_project_does(predict: Predict, tmp_path: Path) -> None:
    make_project(tmp_path / "project")
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / "project" / name).rename(tmp_path / name)
    change(tmp_path, ingest__columns__text="body")
    content = "text,body,title\nnothing,bread,ship\n"
    assert predict("a.csv", content).lines == [f"{ANSWERS[0]}\tbread"]
    assert predict("a.csv", content, "--text-column", "title").lines == [f"{ANSWERS[1]}\tship"]


def test_the_encoding_is_that_of_params_yaml(predict: Predict, tmp_path: Path) -> None:
    make_project(tmp_path / "project")
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / "project" / name).rename(tmp_path / name)
    change(tmp_path, ingest__encoding="cp1252")
    assert predict("a.csv", "text\ncafé bread\n".encode("cp1252")).lines == [f"{ANSWERS[0]}\tcafé bread"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tickets.csv", "id,body\n1,bread\n"),
        ("tickets.jsonl", '{"id": 1, "body": "bread"}\n' * 3),
        ("tickets.jsonl", '{"id": 1, "body": "bread"}\n' * 300),
    ],
)
def test_a_column_that_is_not_there_is_one_line_with_those_that_are(predict: Predict, name: str, content: str) -> None:
    said = predict(name, content)
    assert (said.code, said.lines, len(said.err)) == (1, [], 1)
    assert "no column 'text' (--text-column). Found: id, body. Set --text-column." in said.err[0]
    assert said.err[0].startswith(f"winnow: {name}")


def test_a_table_without_a_header_is_asked_for_one(predict: Predict) -> None:
    said = predict("tickets.csv", "bread is fine.,1\nship,2\n")
    assert said.err == [
        "winnow: tickets.csv: no column 'text' (--text-column). Found: bread is fine., 1. "
        "Does the file have a header line? The first line looks like a row. Set --text-column."
    ]


def test_a_row_that_is_empty_or_cannot_be_read_is_a_null_and_ends_nothing(predict: Predict) -> None:
    content = b'id,text\n1,bread\n2,\n3,"  "\n4,a,b\n5,a\x00b\n6,ship\n'
    said = predict("tickets.csv", content, "--text-column", "text", "--json")
    found = [json.loads(line) for line in said.lines]
    assert [one["label"] for one in found] == ["kitchen", None, None, None, None, "sea"]
    assert found[1] == {"text": None, "label": None, "probability": None, "probabilities": None}
    assert found[3]["text"] is None
    assert said.code == 0
    assert said.err == [
        "winnow: 4 of 6 rows have no answer: 2 empty, 1 ragged, 1 nul. "
        "The first: tickets.csv, line 3: there is nothing to label."
    ]


def test_a_table_in_another_encoding_is_refused_before_any_row_is_answered(predict: Predict) -> None:
    said = predict("tickets.csv", "text\ncafé bread\n".encode("cp1252"))
    assert (said.code, said.lines) == (1, [])
    assert "tickets.csv, line 2: not UTF-8" in said.err[0]
    assert "first 2 lines. Save it as UTF-8. That line reads: cp1252 'café bread'" in said.err[0]


def test_nobody_is_told_of_parameters_outside_a_project(predict: Predict, tmp_path: Path) -> None:
    assert predict("tickets.csv", "").err == ["winnow: tickets.csv is empty (0 bytes). Check that it was written."]
    said = predict("tickets.csv", "text\nbread and more\n".encode("utf-16-le"))
    assert said.err[0].endswith("as UTF-16 is. If so, save it as UTF-8: `iconv -f utf-16-le -t utf-8`.")
    few = "text\n" + "bread\n" * 40
    said = predict("tickets.csv", few.encode() + b"caf\xe9\n")
    assert said.err[0].endswith("line 42: byte 0xe9 has no meaning in the file's encoding.")
    assert predict("tickets.txt", b"bread\ncaf\xe9\n").err[0].endswith("has no meaning in the file's encoding.")
    make_project(tmp_path / "project")
    (tmp_path / "project/params.yaml").rename(tmp_path / "params.yaml")
    (tmp_path / "project/dvc.yaml").rename(tmp_path / "dvc.yaml")
    assert "Set ingest.encoding" in predict("tickets.csv", "text\ncafé bread\n".encode("cp1252")).err[0]


def test_an_empty_line_of_a_table_is_no_row(predict: Predict) -> None:
    assert predict("tickets.csv", "id,text\n1,bread\n\n2,ship\n").lines == [
        f"{ANSWERS[0]}\tbread",
        f"{ANSWERS[1]}\tship",
    ]
    both = '{"text": "bread"}\n\n{"text": "ship"}\n'
    assert predict("tickets.jsonl", both).lines == [f"{ANSWERS[0]}\tbread", f"{ANSWERS[1]}\tship"]


def test_lines_of_a_text_file_that_are_empty_or_no_text_are_nulls(predict: Predict) -> None:
    said = predict("tickets.txt", b"\xef\xbb\xbfbread\r\n\n  \n\xff\nship")
    assert said.lines == [f"{ANSWERS[0]}\tbread", *["null\tnull\t"] * 3, f"{ANSWERS[1]}\tship"]
    assert said.code == 0
    assert said.err[0].startswith("winnow: 3 of 5 rows have no answer: 2 empty, 1 not_text. The first: tickets.txt, li")


def test_a_line_of_a_text_file_may_hold_commas_and_need_no_header(predict: Predict) -> None:
    assert predict("tickets.txt", "text,bread\nship\n").lines == [f"{ANSWERS[0]}\ttext,bread", f"{ANSWERS[1]}\tship"]


def test_where_nothing_is_answered_the_command_fails(predict: Predict) -> None:
    said = predict("tickets.txt", "\n\n")
    assert (said.code, said.lines) == (1, ["null\tnull\t"] * 2)
    assert said.err == [
        "winnow: 2 of 2 rows have no answer: 2 empty. The first: tickets.txt, line 1: there is nothing to label."
    ]


def test_a_file_without_rows_has_no_answers_and_is_no_failure(predict: Predict) -> None:
    assert predict("tickets.txt", "") == (0, "", [])
    assert predict("tickets.csv", "text\n") == (0, "", [])


def test_a_zipped_text_file_is_read_and_a_spreadsheet_is_named(predict: Predict) -> None:
    assert predict("tickets.txt.gz", gzip.compress(b"bread\n")).lines == [f"{ANSWERS[0]}\tbread"]
    said = predict("tickets.xlsx", b"PK\x03\x04 and more")
    assert said.err == ["winnow: tickets.xlsx is a zip archive or a spreadsheet. Save its rows as csv."]


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("tickets.txt", ["--text-column", "body"], "tickets.txt is read as lines of text, which have no columns."),
        ("tickets.csv", ["--text-pair-column", "b"], "The model is of single texts: leave --text-pair-column out."),
    ],
)
def test_options_that_do_not_fit_are_refused(predict: Predict, name: str, options: list[str], told: str) -> None:
    said = predict(name, "text\nbread\n", *options)
    assert said.code == 2
    assert told in said.err[-1]


def test_the_standard_input_is_lines_of_which_an_empty_one_is_a_null(model: Path, tmp_path: Path) -> None:
    done = winnow(tmp_path, "predict", "--model", str(model), "--file", "-", stdin=b"bread\n\n\xff\nship")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [f"{ANSWERS[0]}\tbread", *["null\tnull\t"] * 2, f"{ANSWERS[1]}\tship"]
    assert done.stderr.startswith("winnow: 2 of 4 rows have no answer: 1 empty, 1 not_text. The first: the standard in")


def told(rows: list[Row]) -> list[tuple[tuple[str | None, ...], str]]:
    return [(row.texts, row.fault.reason if row.fault else "") for row in rows]


def test_lines_of_pairs_without_one_tab_are_nulls(tmp_path: Path) -> None:
    file = tmp_path / "pairs.txt"
    file.write_text("a\tb\n\nalone\na\tb\tc\na\t \n")
    assert told(list(asked.rows_of_lines(str(file), are_pairs=True))) == [
        (("a", "b"), ""), (("", ""), "empty"), ((None, None), "no_pair"), ((None, None), "no_pair"),
        (("a", " "), "empty"),
    ]  # fmt: skip


def test_pairs_of_a_table_are_two_columns(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"b": "second", "a": 1.0}\n{"a": "first", "b": null}\n{"a": "first"}\n')
    columns = Columns({"--text-column": "a", "--text-pair-column": "b"}, "auto", 1000, True)
    assert told(list(asked.rows_of_table(str(file), columns))) == [
        (("1", "second"), ""), (("first", None), "empty"), ((None, None), "missing_column"),
    ]  # fmt: skip


def test_no_more_rows_are_read_than_are_answered_next() -> None:
    read = 0

    def rows():
        nonlocal read
        for read in range(1, 10_001):  # noqa: B007
            yield Row("", ("x",), None)

    def ones(texts: Sequence[Text]):
        import numpy as np

        return Outputs(np.ones((len(texts), 1), dtype=np.float32))

    runner = Runner("text_classification", {"labels": ["a"]}, ones)
    lines = answers.answers(rows(), runner, OF_CLASSES, answers.Unanswered(), as_json=False)
    assert next(lines) == "a\t1.0000\tx"
    assert read == answers.BATCH


def test_reading_a_table_to_answer_it_loads_neither_torch_nor_daft(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\nbread\n")
    code = (
        "import sys; from flows.cli.commands import cli\n"
        "cli.main(['predict', '--model', sys.argv[1], '--file', 'a.csv'], standalone_mode=False)\n"
        "print(*sorted({'torch', 'daft'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(model)]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{ANSWERS[0]}\tbread", ""]


def test_texts_on_the_command_line_load_nothing_that_reads_files(model: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from flows.cli.commands import cli\n"
        "cli.main(['predict', '--model', sys.argv[1], 'bread'], standalone_mode=False)\n"
        "print(*sorted({'stages.reading', 'fsspec', 'pydantic', 'torch'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(model)]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{ANSWERS[0]}\tbread", ""]
