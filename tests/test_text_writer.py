"""Sealed models that write, in the hand: `winnow predict`, files of answers, Python."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from predict_fixtures import predicted
from writing_fixtures import SHAPES, TEXTS, Source, write_writer

import winnow
from stages.backends.records import asked
from stages.backends.runners import as_writer, open_runner
from stages.core.contracts import Generation

CLEANING = {"rules": ["white_space"], "masks": {}, "stop_words": [], "max_chars": 10_000}
Folders = dict[Source, Path]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    found: Folders = {}
    for layout, source in (SHAPES[0], SHAPES[3], SHAPES[4]):
        found[source] = tmp_path_factory.mktemp("models") / layout
        found[source].mkdir()
        write_writer(found[source], layout, source, cleaning=CLEANING)
    return found


@pytest.fixture(params=[None, "before", "apart"], ids=str)
def folder(request: pytest.FixtureRequest, folders: Folders) -> Path:
    return folders[request.param]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_text_alone_is_printed_as_it_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = winnow.load(folder, threads=1)
    said = predicted(folder, capsys, TEXTS[0], "--max-new-tokens", "9")
    assert (said.code, said.err) == (0, [])
    assert said.out == writer.write([TEXTS[0]], max_new_tokens=9)[0] + "\n"
    assert "".join(writer.stream(TEXTS[0], max_new_tokens=9)) + "\n" == said.out
    drawn = predicted(folder, capsys, TEXTS[0], "--temperature", "1.5", "--top-k", "9", "--top-p", "0.9", "--seed", "4")
    how = {"temperature": 1.5, "top_k": 9, "top_p": 0.9, "seed": 4}
    assert drawn.out == writer.write([TEXTS[0]], **how)[0] + "\n" != said.out
    stop = writer.write([TEXTS[0]])[0][3:5]
    assert predicted(folder, capsys, TEXTS[0], "--stop", stop).out == writer.write([TEXTS[0]], stop=[stop])[0] + "\n"
    assert predicted(folder, capsys, TEXTS[0], "--beams", "3").out == writer.write([TEXTS[0]], beams=3)[0] + "\n"


def test_a_terminal_gets_no_characters_that_move_its_cursor() -> None:
    from flows.answering.terminal import in_lines

    assert in_lines("a\x1b[2J\n\tb\x07") == "a [2J\n\tb "


def test_several_texts_are_lines_and_objects(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = winnow.load(folder, threads=1)
    said = predicted(folder, capsys, *TEXTS[:2], "--json", "--max-new-tokens", "5")
    found = [json.loads(line) for line in said.lines]
    assert [one["written"] for one in found] == writer.write(TEXTS[:2], max_new_tokens=5)
    assert [one["text"] for one in found] == TEXTS[:2]
    assert [
        {**one, "text": text} for one, text in zip(writer(TEXTS[:2], max_new_tokens=5), TEXTS, strict=False)
    ] == found
    assert len(predicted(folder, capsys, *TEXTS[:2]).lines) == 2


def test_a_file_gets_what_is_written_for_each_row_and_bad_rows_cost_themselves_alone(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked, out = tmp_path / "asked.jsonl", tmp_path / "out.csv"
    long = "one two three four " * 100
    asked.write_text("".join(json.dumps({"text": text}) + "\n" for text in [TEXTS[0], "  ", long, TEXTS[1]]))
    said = predicted(folder, capsys, str(asked), "--text-column", "text", "-o", str(out), "--max-new-tokens", "5")
    rows = read(out)
    writer = winnow.load(folder, threads=1)
    assert [rows[0]["answer"], rows[3]["answer"]] == writer.write(TEXTS[:2], max_new_tokens=5)
    assert "there is nothing to label" in rows[1]["error"]
    is_cut = "text2text" in json.loads((folder / "model.json").read_text())["task"]
    assert bool(rows[2]["answer"]) == is_cut
    assert (
        is_cut or "line 3: the text has 1,900 characters" in rows[2]["error"] or "tokens together" in rows[2]["error"]
    )
    assert said.code == 3
    assert ("probability" in rows[0]) == is_cut
    lines = predicted(folder, capsys, "--file", str(asked), "--text-column", "text", "--max-new-tokens", "5").lines
    assert len(lines) == 4


def test_rows_that_cannot_be_written_for_several_reasons_cost_themselves_alone(folders: Folders) -> None:
    runner = as_writer(open_runner(folders[None], threads=1), Generation(4))
    texts = ["x y " * 4000, "one", "one two three four " * 30, "two"]
    outputs, reasons = asked(runner, texts)
    assert sorted(reasons) == [0, 2]
    assert "16,000 characters" in reasons[0]
    assert "tokens together" in reasons[2]
    assert outputs.written == runner.predict(["one", "two"]).written


def test_a_file_is_answered_also_where_cleaning_leaves_nothing_of_short_texts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder, lines, out = tmp_path / "model", tmp_path / "lines.txt", tmp_path / "out.csv"
    folder.mkdir()
    rules = ["no_stop_words", "white_space"]
    write_writer(folder, "t5", "apart", cleaning={**CLEANING, "rules": rules, "stop_words": ["a"]})
    lines.write_text("the cat\na\n")
    said = predicted(folder, capsys, "--file", str(lines), "-o", str(out), "--max-new-tokens", "3")
    assert said.code == 3
    assert [bool(row["error"]) for row in read(out)] == [False, True]
    assert "the text is empty" in read(out)[1]["error"]


def test_settings_that_do_not_fit_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    from flow_fixtures import write_word_model

    words = write_word_model(tmp_path_factory.mktemp("words"))
    assert "writes no text: leave settings out" in predicted(words, capsys, "bread", "--beams", "2").err[-1]
    both = predicted(folder, capsys, "one", "--beams", "2", "--temperature", "1")
    assert (both.code, both.out) == (1, "")
    assert "beams is 2 and temperature 1.0" in both.err[-1]
    assert "answers without a confidence" in predicted(folder, capsys, "one", "--threshold", "0.5").err[-1]
    writer = winnow.load(folder, threads=1)
    with pytest.raises(ValueError, match=r"'temprature' is no setting of writing.*Did you mean 'temperature'"):
        writer.write(["one"], temprature=1)
    with pytest.raises(TypeError, match="Give a list"):
        writer.write("one")
    with pytest.raises(ValueError, match=r"'\\ud83d' is no setting"):
        writer.write(["one"], **{"\ud83d": 1})
    with pytest.raises(ValueError, match="text number 1 is a pair"):
        writer.write([("one", "two")])
    with pytest.raises(ValueError, match=r"stop is 'x'. Allowed: a list of texts"):
        writer.stream("one", stop="x")


def test_a_prompt_without_room_is_told_on_one_line(folders: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    said = predicted(folders[None], capsys, "one two three four " * 20)
    assert said.code == 1
    assert "tokens, and the model reads and writes 48 tokens together" in said.err[-1]
    million = open_runner(folders["apart"], threads=1)
    assert million.predict(["one two three " * 80_000]).written


def test_how_unlikely_a_text_is(folders: Folders) -> None:
    alone, apart = winnow.load(folders[None], threads=1), winnow.load(folders["apart"], threads=1)
    assert alone.nats(TEXTS[:2]) == [-one for one in sums(folders[None], TEXTS[:2])]
    pairs = [(TEXTS[0], "cat"), (TEXTS[1], "dog")]
    assert apart.nats([]) == alone.nats([]) == []
    assert apart.nats(pairs) == [-one for one in sums(folders["apart"], pairs)]
    with pytest.raises(ValueError, match="a source alone has no target"):
        apart.nats(TEXTS[:1])


def sums(folder: Path, texts: list) -> list[float]:
    found = open_runner(folder, threads=1).predict(texts)
    assert found.offsets is not None
    return [float(found.values[a:b].sum(dtype=float)) for a, b in zip(found.offsets, found.offsets[1:], strict=False)]


def test_sources_are_cleaned_and_targets_are_not(folders: Folders) -> None:
    runner = open_runner(folders["apart"], threads=1)
    assert (runner.predict([("a   b", "c  d")]).values == runner.predict([("a b", "c  d")]).values).all()
    assert len(runner.predict([("a b", "c  d")]).values) != len(runner.predict([("a b", "c d")]).values)
