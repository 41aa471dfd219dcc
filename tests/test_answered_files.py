"""`winnow predict FILE -o OUT`: rows of a file with their answers, and what becomes of rows and files with faults."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import os
import signal
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import predict_fixtures
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from predict_fixtures import Said, predicted

from flows.answering import filling, shaped
from flows.answering.filling import Asking, batches, fill
from flows.answering.reading import Source, SourceRow, open_table
from flows.answering.writing import open_writer, write_rows
from flows.cli.answers import Row
from flows.cli.asked import Columns
from stages.core.contracts import Outputs, Runner
from stages.tasks.regression.answers import ANSWERS as OF_NUMBERS
from stages.tasks.text_classification.answers import ANSWERS as OF_CLASSES

BREAD, SHIP = 0.993307, 0.952574  # 1 / (1 + e^-5), 1 / (1 + e^-3)
TICKETS = 'id,text,owner\n1,bread,ann\n2,"the ship,\nat sea",bob\n'


model = predict_fixtures.model
Predict = Callable[..., Said]


@pytest.fixture
def predict(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Predict:
    """predict(argument, ...): the command's exit code and output, where there is nothing but what the test writes."""
    monkeypatch.chdir(tmp_path)

    return lambda *arguments: predicted(model, capsys, *arguments)


def read(path: Path | str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_rows_keep_their_columns_and_get_answer_probability_and_error(predict: Predict) -> None:
    Path("tickets.csv").write_text(TICKETS)
    assert predict("tickets.csv", "-o", "out.csv") == (0, "", ["Written: out.csv, 2 rows answered"])
    again = ["Written: out.csv, 2 rows answered; what stood there is replaced"]
    assert predict("tickets.csv", "-o", "out.csv").err == again
    assert Path("out.csv").read_text() == (
        f'id,text,owner,answer,probability,error\n1,bread,ann,kitchen,{BREAD},\n2,"the ship,\nat sea",bob,sea,{SHIP},\n'
    )


@pytest.mark.parametrize("name", ["out.tsv", "out.csv.gz", "out.jsonl", "out.jsonl.gz", "out.parquet"])
def test_the_ending_of_the_output_is_its_format(predict: Predict, name: str) -> None:
    Path("tickets.csv").write_text(TICKETS)
    assert predict("tickets.csv", "-o", name).code == 0
    if name.endswith(".parquet"):
        found: list[dict[str, Any]] = pq.read_table(name).to_pylist()
    else:
        content = Path(name).read_bytes()
        lines = (gzip.decompress(content) if name.endswith(".gz") else content).decode().splitlines(keepends=True)
        delimiter = "\t" if name.endswith(".tsv") else ","
        found = list(map(json.loads, lines)) if "jsonl" in name else list(csv.DictReader(lines, delimiter=delimiter))
    assert [(row["id"], row["answer"], float(row["probability"])) for row in found] == [
        ("1", "kitchen", BREAD), ("2", "sea", SHIP),
    ]  # fmt: skip


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_a_carriage_return_in_a_cell_breaks_no_row(tmp_path: Path, ending: str) -> None:
    row = {"id": "1", "text": "bread\rship", "note": "a\r\nb", "last": "c"}
    write_rows(str(tmp_path / f"a.{ending}"), [row])
    content = (tmp_path / f"a.{ending}").read_bytes().decode()
    assert list(csv.DictReader(io.StringIO(content, newline=""), delimiter="\t" if ending == "tsv" else ",")) == [row]
    assert content.startswith("id,text,note,last\n".replace(",", "\t" if ending == "tsv" else ","))
    assert content.endswith("c\n")


def test_a_group_of_rows_whose_writing_is_interrupted_is_not_written_twice(tmp_path: Path) -> None:
    writer = open_writer("a.parquet", tmp_path / "a.parquet", {"text": None})
    writer.write([{"text": "bread"}])
    inner: Any = writer
    whole = inner._writer.write_table

    def interrupted(table: pa.Table) -> None:
        whole(table)
        inner._writer.write_table = whole
        raise KeyboardInterrupt

    inner._writer.write_table = interrupted
    with pytest.raises(KeyboardInterrupt):
        writer.close()
    writer.close()
    assert pq.read_table(tmp_path / "a.parquet").num_rows == 1


def test_an_output_of_an_unknown_ending_is_refused_before_the_model_is_asked(predict: Predict) -> None:
    Path("tickets.csv").write_text(TICKETS)
    said = predict("tickets.csv", "-o", "out.xlsx")
    assert said.code == 1
    assert "-o out.xlsx: a file of answers ends in .csv, .tsv, .jsonl, .parquet" in said.err[0]


def test_a_bad_row_is_written_with_its_reason_and_the_exit_code_says_so(predict: Predict) -> None:
    Path("tickets.csv").write_bytes(b"id,text\n1,bread\n2,\n3,a,b\n4,a\x00b\n5,\xff\n6,ship\n" + b"7,bread\n" * 40)
    said = predict("tickets.csv", "-o", "out.csv")
    assert said.code == 3
    assert said.err[0] == "Written: out.csv, 42 of 46 rows answered"
    assert said.err[1].startswith("winnow: 4 of 46 rows have no answer: 1 empty, 1 ragged, 1 nul, 1 not_text.")
    rows = read("out.csv")
    assert [row["answer"] for row in rows[:6]] == ["kitchen", "", "", "", "", "sea"]
    assert rows[1]["id"] == "2"
    assert rows[1]["error"] == "tickets.csv, line 3: there is nothing to label"
    assert rows[2]["error"].startswith("tickets.csv, line 4: 3 fields, expected 2 as in the header")
    assert [row["error"] for row in rows if row["answer"]] == [""] * 42


def test_where_no_row_has_an_answer_the_command_fails_and_the_reasons_are_there(predict: Predict) -> None:
    Path("tickets.csv").write_text("id,text\n1,\n2,\n")
    assert predict("tickets.csv", "-o", "out.csv").code == 1
    assert [row["error"] for row in read("out.csv")] == [
        f"tickets.csv, line {line}: there is nothing to label" for line in (2, 3)
    ]


def test_a_file_without_rows_gives_a_header_alone(predict: Predict) -> None:
    Path("tickets.csv").write_text("id,text\n")
    assert predict("tickets.csv", "-o", "out.csv").code == 0
    assert Path("out.csv").read_text() == "id,text,answer,probability,error\n"


def test_a_text_inside_an_object_of_a_jsonl_is_answered(predict: Predict) -> None:
    Path("a.jsonl").write_text('{"said": {"en": "bread"}}\n{"said": {"de": "Brot"}}\n')
    assert predict("a.jsonl", "--text-column", "said.en", "-o", "out.jsonl").code == 3
    first, second = (json.loads(line) for line in Path("out.jsonl").read_text().splitlines())
    assert first == {"said": {"en": "bread"}, "answer": "kitchen", "probability": BREAD, "error": None}
    assert second["error"].startswith("a.jsonl, line 2: no column 'said.en' (--text-column). Found: said. ")


def test_objects_of_a_jsonl_stay_whole_though_their_keys_differ(predict: Predict) -> None:
    Path("a.jsonl").write_text(
        '{"text": "bread", "tags": ["x"]}\n{"owner": {"name": "é"}, "text": "ship"}\n{"no": 1}\n[1]\n{'
    )
    assert predict("a.jsonl", "-o", "out.jsonl").code == 3
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert rows[0] == {"text": "bread", "tags": ["x"], "answer": "kitchen", "probability": BREAD, "error": None}
    assert rows[1]["owner"] == {"name": "é"}
    assert [row["error"].split(":")[1][:12] for row in rows[2:]] == [" no column '", " an array, e", " not JSON"]


def test_of_a_row_whose_text_alone_is_at_fault_the_other_columns_stay(predict: Predict) -> None:
    Path("a.jsonl").write_text('{"id": 7, "text": ["x"]}\n{"id": 8, "text": "bread"}\n{"id": 9}\n')
    assert predict("a.jsonl", "-o", "out.jsonl").code == 3
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [(row["id"], row.get("text"), row["answer"]) for row in rows] == [
        (7, ["x"], None), (8, "bread", "kitchen"), (9, None, None),
    ]  # fmt: skip


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_what_is_in_other_columns_of_a_parquet_is_no_fault_of_a_row(predict: Predict, ending: str) -> None:
    bad = pa.array([b"bread", b"\xff"], pa.binary()).view(pa.string())
    digests = pa.array([b"\xff\x00", b"\xfe"], pa.binary())
    pq.write_table(pa.table({"digest": digests, "text": bad}), "a.parquet")
    assert predict("a.parquet", "-o", f"out.{ending}").code == 3
    if ending == "parquet":
        rows = pq.read_table("out.parquet").to_pylist()
        assert [(row["digest"], row["text"], row["answer"]) for row in rows] == [
            (b"\xff\x00", "bread", "kitchen"), (b"\xfe", "\ufffd", None),
        ]  # fmt: skip
    else:
        assert [(row["text"], row["answer"]) for row in read("out.csv")] == [("bread", "kitchen"), ("\ufffd", "")]


def test_late_columns_of_a_jsonl_are_kept_and_never_overwritten(predict: Predict) -> None:
    Path("a.jsonl").write_text('{"text": "bread"}\n' * 1500 + '{"text": "ship", "answer": "mine", "late": 1}\n')
    for name in ("out.jsonl", "out.csv"):
        assert predict("a.jsonl", "-o", name).code == 0
    last = json.loads(Path("out.jsonl").read_text().splitlines()[-1])
    assert (last["answer"], last["late"], last["predicted_answer"]) == ("mine", 1, "sea")
    last_of_table = read("out.csv")[-1]
    assert (last_of_table["answer"], last_of_table["late"], last_of_table["predicted_answer"]) == ("mine", "1", "sea")


def test_types_of_parquet_are_kept(predict: Predict) -> None:
    table = pa.table({"id": pa.array([1, 2], pa.int16()), "body": ["bread", None], "at": pa.array([[0.5], []])})
    pq.write_table(table, "a.parquet")
    assert predict("a.parquet", "--text-column", "body", "-o", "out.parquet").code == 3
    schema = pq.read_schema("out.parquet")
    assert (schema.field("id").type, schema.field("at").type) == (pa.int16(), pa.list_(pa.float64()))
    assert pq.read_table("out.parquet").to_pylist()[0] == {
        "id": 1, "body": "bread", "at": [0.5], "answer": "kitchen", "probability": BREAD, "error": None,
    }  # fmt: skip


def test_columns_that_are_called_as_ours_stay_and_ours_get_another_name(predict: Predict) -> None:
    Path("a.csv").write_text("text,answer,error\nbread,mine,none\n")
    predict("a.csv", "-o", "out.csv")
    assert read("out.csv") == [{
        "text": "bread", "answer": "mine", "error": "none",
        "predicted_answer": "kitchen", "probability": str(BREAD), "predicted_error": "",
    }]  # fmt: skip
    Path("a.csv").write_text("text,answer,predicted_answer\nbread,mine,older\n")
    predict("a.csv", "-o", "out.csv")
    (row,) = read("out.csv")
    assert (row["answer"], row["predicted_answer"], row["predicted_predicted_answer"]) == ("mine", "older", "kitchen")


def test_the_likeliest_labels_have_columns_of_their_own(predict: Predict) -> None:
    Path("a.csv").write_text("text\nbread\n")
    predict("a.csv", "-o", "out.csv", "--top", "5")
    (row,) = read("out.csv")
    assert (row["top_1"], row["top_2"], row["top_3"]) == ("kitchen", "sea", "")
    assert float(row["probability_2"]) == pytest.approx(1 - BREAD, abs=1e-6)
    assert predict("bread", "--top", "2").out == "kitchen\t0.9933\tsea\t0.0067\tbread\n"


def test_answers_under_the_threshold_are_withheld_with_the_reason(predict: Predict) -> None:
    Path("a.csv").write_text("text\nbread\nship\n")
    said = predict("a.csv", "-o", "out.csv", "--threshold", "0.98")
    assert said == (0, "", [
        "Written: out.csv, 1 of 2 rows answered", "winnow: 1 of 2 answers are withheld: under --threshold 0.98.",
    ])  # fmt: skip
    assert [(row["answer"], row["error"]) for row in read("out.csv")] == [
        ("kitchen", ""), ("", "not sure enough: 0.9526 is under the threshold 0.98"),
    ]  # fmt: skip
    assert predict("ship", "--threshold", "0.98").out == "null\tnull\tship\n"
    found = json.loads(predict("ship", "--threshold", "0.98", "--json").out)
    assert (found["label"], found["error"]) == (None, "not sure enough: 0.9526 is under the threshold 0.98")
    assert predict("ship", "--threshold", "0.95").out == "sea\t0.9526\tship\n"


def test_a_threshold_is_held_against_the_confidence_itself_in_a_file_as_of_a_text(predict: Predict) -> None:
    Path("a.csv").write_text("text\nship\n")  # 0.952574127, which rounds to less than this threshold
    exact = "0.9525741"
    assert predict("ship", "--threshold", exact).out == "sea\t0.9526\tship\n"
    assert predict("a.csv", "-o", "out.csv", "--threshold", exact).err == ["Written: out.csv, 1 row answered"]
    assert [row["answer"] for row in read("out.csv")] == ["sea"]


def test_a_reason_has_so_many_digits_that_the_confidence_looks_smaller() -> None:
    assert shaped.unsure(0.89996, 0.9) == "not sure enough: 0.89996 is under the threshold 0.9"
    assert shaped.unsure(0.5, 0.50000001) == "not sure enough: 0.5000 is under the threshold 0.50000001"


def test_a_threshold_that_is_no_number_is_refused(predict: Predict) -> None:
    said = predict("ship", "--threshold", "nan")
    assert said.code == 2
    assert any("'nan' is no number. Allowed: one in the range 0<=x<=1" in line for line in said.err)


def test_a_tab_in_a_label_cuts_no_answer(tmp_path: Path) -> None:
    runner = replace(fixed_runner(), space={"labels": ["bed\tand board", "sea"]})
    out = tmp_path / "o.csv"
    fill(Source({"text": None}, some_rows(1)), Asking(runner, OF_CLASSES, are_pairs=False), str(out), lambda _: None)
    assert [row["answer"] for row in read(out)] == ["bed\tand board"]


def test_a_task_without_confidence_or_labels_refuses_threshold_and_top() -> None:
    with pytest.raises(ValueError, match="a regressor answers without a confidence"):
        shaped.refuse_threshold(OF_NUMBERS, "regressor")
    with pytest.raises(ValueError, match="a regressor does not give each of its answers a probability"):
        shaped.refuse_top(OF_NUMBERS, "regressor")
    shaped.refuse_threshold(OF_CLASSES, "text classifier")
    shaped.refuse_top(OF_CLASSES, "text classifier")


def test_the_input_is_never_overwritten(predict: Predict) -> None:
    Path("a.csv").write_text("text\nbread\n")
    Path("link.csv").hardlink_to("a.csv")
    for out in ("a.csv", "./a.csv", "link.csv"):
        said = predict("a.csv", "-o", out)
        assert said.code == 1
        assert "is the input itself" in said.err[0]
    assert Path("a.csv").read_text() == "text\nbread\n"


def test_a_folder_that_is_not_there_is_told_before_anything_is_answered(predict: Predict) -> None:
    Path("a.csv").write_text("text\nbread\n")
    assert predict("a.csv", "-o", "no/out.csv").err == ["winnow: -o no/out.csv: there is no folder no. Make it first."]


def test_json_is_of_what_is_printed_and_an_output_of_texts_is_refused(predict: Predict) -> None:
    Path("a.csv").write_text("text\nbread\n")
    assert predict("a.csv", "-o", "out.csv", "--json").code == 2
    assert predict("bread", "-o", "out.csv").code == 2
    assert not Path("out.csv").exists()


def test_the_name_of_a_table_that_is_not_there_is_no_text(predict: Predict) -> None:
    said = predict("tickets.csv")
    assert (said.code, said.out) == (1, "")
    assert "there is no file tickets.csv" in said.err[0]
    assert "there is no file tickets.json.gz" in predict("tickets.json.gz").err[0]


def test_an_argument_that_is_a_file_is_read_and_two_are_texts(predict: Predict) -> None:
    Path("bread").write_text("ship\n")
    assert predict("bread").out == "sea\t0.9526\tship\n"
    assert predict("bread", "bread").out == "kitchen\t0.9933\tbread\n" * 2


def test_lines_of_text_become_rows_and_csv_can_go_to_the_standard_output(predict: Predict) -> None:
    Path("a.txt").write_text("bread\n\nship")
    said = predict("a.txt", "-o", "out.csv")
    assert said.code == 3
    assert [(row["text"], row["answer"]) for row in read("out.csv")] == [
        ("bread", "kitchen"),
        ("", ""),
        ("ship", "sea"),
    ]


def test_a_gzip_that_is_torn_leaves_what_was_answered_beside_the_output(predict: Predict) -> None:
    rng = np.random.default_rng(0)
    rows = b"".join(b"%d,bread\n" % number for number in rng.integers(1 << 60, size=200_000))
    Path("a.csv.gz").write_bytes(gzip.compress(b"id,text\n" + rows)[:-9000])
    Path("out.csv").write_text("before\n")
    said = predict("a.csv.gz", "-o", "out.csv")
    assert said.code == 1
    assert "a.csv.gz is not a whole gzip file" in said.err[0]
    assert "rows are in out.partial.csv; out.csv was not touched." in said.err[0]
    assert Path("out.csv").read_text() == "before\n"
    kept = len(read("out.partial.csv"))
    assert f"{kept:,} rows" in said.err[0]
    assert 100_000 < kept < 200_000
    assert not list(Path().glob(".*draft"))


def some_rows(count: int, ends: BaseException | None = None) -> Iterator[SourceRow]:
    for number in range(count):
        yield SourceRow(Row(f"row {number}", ("bread",), None), {"text": "bread"})
    if ends:
        raise ends


def fixed_runner() -> Runner:
    def predict(texts: Any) -> Outputs:
        return Outputs(np.tile(np.array([[0.75, 0.25]], dtype=np.float32), (len(texts), 1)))

    return Runner("text_classification", {"labels": ["kitchen", "sea"]}, predict)


def test_an_interruption_says_what_is_there_and_publishes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    source = Source({"text": None}, some_rows(3 * filling.BATCH, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt) as told:
        fill(source, Asking(fixed_runner(), OF_CLASSES, are_pairs=False), str(out), lambda _: None)
    kept = tmp_path / "out.partial.jsonl"
    rows = len(kept.read_text().splitlines())
    assert (
        str(told.value) == f"interrupted: the answers to the first {rows:,} rows are in {kept}; {out} was not touched."
    )
    assert rows == 2 * filling.BATCH  # the third was being answered
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.partial.jsonl"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_it_leaves_what_was_answered_and_says_where(tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "out.jsonl"

    def rows() -> Iterator[SourceRow]:
        yield from some_rows(3 * filling.BATCH)
        os.kill(os.getpid(), number)
        yield from some_rows(1)

    asking = Asking(fixed_runner(), OF_CLASSES, are_pairs=False)
    with pytest.raises(SystemExit) as told:
        fill(Source({"text": None}, rows()), asking, str(out), lambda _: None)
    kept = len((tmp_path / "out.partial.jsonl").read_text().splitlines())
    assert told.value.code == 128 + number
    assert f"ended: the answers to the first {kept:,} rows are in" in told.value.__notes__[0]
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial.jsonl"]


def test_a_file_that_is_replaced_keeps_its_mode_and_a_link_leads_where_it_led(tmp_path: Path) -> None:
    link, real = tmp_path / "out.csv", tmp_path / "elsewhere/answers.csv"
    real.parent.mkdir()
    real.write_text("before\n")
    real.chmod(0o600)
    link.symlink_to(real)
    asking = Asking(fixed_runner(), OF_CLASSES, are_pairs=False)
    fill(Source({"text": None}, some_rows(3)), asking, str(link), lambda _: None)
    assert link.is_symlink()
    assert len(read(real)) == 3
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    real.chmod(0o444)
    fill(Source({"text": None}, some_rows(4)), asking, str(link), lambda _: None)
    assert (len(read(real)), stat.S_IMODE(real.stat().st_mode)) == (4, 0o444)


def test_what_is_there_already_is_not_replaced_by_what_an_interrupted_run_leaves(tmp_path: Path) -> None:
    (tmp_path / "out.partial.jsonl").write_text("the input, or a longer run before\n")
    for _ in range(2):
        source = Source({"text": None}, some_rows(3 * filling.BATCH, KeyboardInterrupt()))
        asking = Asking(fixed_runner(), OF_CLASSES, are_pairs=False)
        with pytest.raises(KeyboardInterrupt):
            fill(source, asking, str(tmp_path / "out.jsonl"), lambda _: None)
    assert (tmp_path / "out.partial.jsonl").read_text() == "the input, or a longer run before\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "out.partial-2.jsonl", "out.partial-3.jsonl", "out.partial.jsonl",
    ]  # fmt: skip


def test_two_that_write_one_file_are_told_and_neither_has_rows_of_the_other(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"

    def asked_for_meanwhile() -> Iterator[SourceRow]:
        yield from some_rows(10)
        second = Source({"text": None}, some_rows(3))
        with pytest.raises(ValueError, match=r"out\.csv: another process is writing it\. Wait"):
            fill(second, asking, str(out), lambda _: None)
        yield from some_rows(10)

    asking = Asking(fixed_runner(), OF_CLASSES, are_pairs=False)
    fill(Source({"text": None}, asked_for_meanwhile()), asking, str(out), lambda _: None)
    assert len(read(out)) == 20
    fill(Source({"text": None}, some_rows(3)), asking, str(out), lambda _: None)
    assert len(read(out)) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.parquet"])
def test_bytes_that_are_no_text_and_numbers_that_json_has_not_cost_no_row(tmp_path: Path, name: str) -> None:
    rows = [
        {"image": {"bytes": b"\x89PNG\xff", "path": None}, "raw": b"\xff\x00", "deep": {"a": [math.nan, math.inf, 1.5]}}
    ]
    write_rows(str(tmp_path / name), rows)
    if name.endswith(".jsonl"):
        (line,) = (tmp_path / name).read_text().splitlines()
        found = json.loads(line, parse_constant=pytest.fail)
        assert found["deep"] == {"a": [None, None, 1.5]}
        assert found["image"]["bytes"].endswith("PNG\ufffd")
    else:
        (row,) = read(tmp_path / name) if name.endswith(".csv") else pq.read_table(tmp_path / name).to_pylist()
        assert json.loads(row["deep"], parse_constant=pytest.fail) == {"a": [None, None, 1.5]}
        assert json.loads(row["image"])["path"] is None


def test_an_interruption_before_the_first_batch_leaves_nothing(tmp_path: Path) -> None:
    source = Source({"text": None}, some_rows(0, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt, match="no answers were written"):
        fill(source, Asking(fixed_runner(), OF_CLASSES, are_pairs=False), str(tmp_path / "out.csv"), lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_no_more_than_two_batches_are_read_ahead_of_what_is_written(tmp_path: Path) -> None:
    read_rows, furthest = 0, 0

    def counted() -> Iterator[SourceRow]:
        nonlocal read_rows
        for row in some_rows(5 * filling.BATCH):
            read_rows += 1
            yield row

    written = 0

    def on_rows(rows: int) -> None:
        nonlocal written, furthest
        furthest = max(furthest, read_rows - written)
        written += rows

    fill(Source({"text": None}, counted()), Asking(fixed_runner(), OF_CLASSES, False), str(tmp_path / "o.csv"), on_rows)
    assert written == 5 * filling.BATCH
    assert furthest == 2 * filling.BATCH


def test_long_rows_make_small_batches() -> None:
    rows = [SourceRow(Row("", (text,), None), {}) for text in ("x" * 3_000_000, "x" * 3_000_000, "x", "y")]
    assert [len(batch) for batch in batches(iter(rows))] == [2, 2]


def test_numbers_are_numbers_in_a_file(tmp_path: Path) -> None:
    runner = Runner(
        "regression", {"mean": 1.0, "deviation": 2.0}, lambda texts: Outputs(np.full((len(texts), 1), 0.25, "f"))
    )
    source = Source({"text": None}, some_rows(2))
    fill(source, Asking(runner, OF_NUMBERS, are_pairs=False), str(tmp_path / "out.parquet"), lambda _: None)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["text", "answer", "error"]
    assert table["answer"].to_pylist() == [1.5, 1.5]


def test_answers_of_places_have_them_as_json_in_the_text_as_it_was_asked(tmp_path: Path) -> None:
    def predict(texts: Any) -> Outputs:  # O, B-name: the second token of each text is a name
        values = np.tile(np.array([[0.9, 0.1, 0], [0.2, 0.8, 0]], dtype=np.float32), (len(texts), 1))
        places = np.tile(np.array([[0, 2], [3, 6]]), (len(texts), 1))
        return Outputs(values, np.arange(len(texts) + 1) * 2, places, [" ".join(text.split()) for text in texts])

    from stages.tasks.token_classification.answers import ANSWERS

    runner = Runner("token_classification", {"tags": ["O", "B-name", "I-name"]}, predict)
    rows = iter([SourceRow(Row("row 1", ("is   Ada",), None), {"text": "is   Ada"})])
    fill(
        Source({"text": None}, rows), Asking(runner, ANSWERS, are_pairs=False), str(tmp_path / "o.csv"), lambda _: None
    )
    (row,) = read(tmp_path / "o.csv")
    assert (row["answer"], row["probability"]) == ("name: Ada (0.8000)", "0.8")
    (span,) = json.loads(row["spans"])
    assert (span["start"], span["end"], span["text"]) == (5, 8, "Ada")


def test_the_separator_of_a_header_is_found_and_a_double_name_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("id;note;text;note\n1;x;bread;y\n")
    columns = Columns({"--text-column": "text"}, "auto", 1000, False)
    told: list[str] = []
    source = open_table(str(file), columns, lambda: file.open("rb"), told.append)
    assert list(source.columns) == ["id", "text"]
    assert [one.own for one in source.rows] == [{"id": "1", "text": "bread"}]
    assert told == [f"{file}: columns whose name is there more than once are left out: note."]


def test_a_header_with_a_newline_in_a_name_keeps_all_columns(predict: Predict) -> None:
    Path("a.csv").write_text('\n"the\nnumber",text\n7,bread\n')
    assert predict("a.csv", "-o", "out.csv").code == 0
    (row,) = read("out.csv")
    assert (row["the\nnumber"], row["answer"]) == ("7", "kitchen")


def test_a_table_with_a_gap_is_written_with_nothing_there(tmp_path: Path) -> None:
    write_rows(str(tmp_path / "a.csv"), [{"a": 1}, {"b": "x"}])
    assert (tmp_path / "a.csv").read_text() == "a,b\n1,\n,x\n"


def test_an_answer_that_fails_names_what_is_there(tmp_path: Path) -> None:
    def fails(_texts: Any) -> Outputs:
        raise RuntimeError("the disk is gone")

    runner = fixed_runner()
    calls: list[int] = []

    def predict(texts: Any) -> Outputs:
        calls.append(len(texts))
        return runner.predict(texts) if len(calls) < 3 else fails(texts)

    source = Source({"text": None}, some_rows(3 * filling.BATCH))
    with pytest.raises(RuntimeError, match="the disk is gone: the answers to the first 2,048 rows are in"):
        fill(
            source, Asking(replace(runner, predict=predict), OF_CLASSES, False), str(tmp_path / "o.csv"), lambda _: None
        )
