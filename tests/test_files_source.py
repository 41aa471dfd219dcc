"""The source `files`: formats, encodings, splits, and rows that cannot be read: each counted, with its line."""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import logging
import random
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from source_fixtures import kept, project_params, read, rejected, settings

from stages.core.contracts import UNREADABLE, RawRow, RejectedRow
from stages.core.paths import Paths
from stages.ingest import ingest, row_id
from stages.reading.errors import one_line
from stages.reading.parquet import BATCH_BYTES, Table
from stages.sources import files
from stages.tasks import TASKS

FOUR = ["NA", "null", "None", "nan"]


def write_rows(path: Path, rows: list[tuple[str, str]]) -> Path:
    """Rows of text and label in the format that the name says."""
    ending = path.name.removesuffix(".gz").rpartition(".")[2]
    frame = pd.DataFrame(rows, columns=["text", "label"])
    plain = path.with_name(f"plain.{ending}")
    if ending == "parquet":
        frame.to_parquet(plain)
    elif ending in ("jsonl", "json"):
        frame.to_json(plain, orient="records", lines=True)
    else:
        frame.to_csv(plain, index=False, sep="\t" if ending == "tsv" else ",")
    path.write_bytes(gzip.compress(plain.read_bytes()) if path.name.endswith(".gz") else plain.read_bytes())
    plain.unlink()
    return path


# formats


@pytest.mark.parametrize("zipped", ["", ".gz"])
@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_every_format_gives_the_same_texts_and_words_that_look_missing_stay_texts(
    tmp_path: Path, ending: str, zipped: str
) -> None:
    rows = [*((text, "a") for text in FOUR), ("two\nlines, é\tand a tab", "1")]
    path = write_rows(tmp_path / f"rows.{ending}{zipped}", rows)
    assert [(row.text, row.label) for row in kept(path)] == rows


def test_numbers_and_truths_become_texts_whether_text_or_label(tmp_path: Path) -> None:
    lines = [{"text": "null", "label": 1}, {"text": None, "label": 2.0}, {"text": 7, "label": True}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert [(row.text, row.label) for row in kept(tmp_path / "rows.jsonl")] == [
        ("null", "1"), (None, "2"), ("7", "true"),
    ]  # fmt: skip


STRUCTURED = frozenset({"text", "target"})
TAGS = """-DOCSTART- -X- O

Ada NNP B-person
wrote VBD O

she PRP O

-DOCSTART- -X- O

no tag
Babbage NNP B-person
"""


def test_lists_and_objects_are_given_as_json_where_the_task_takes_them(tmp_path: Path) -> None:
    words, tags = ["Ada", "wr\u00f6te"], ["B-person", "O"]
    line = json.dumps({"text": words, "label": tags})
    spans = json.dumps({"text": "Ada", "label": [{"start": 0, "end": 3, "label": "person"}]})
    (tmp_path / "rows.jsonl").write_text(f"{line}\n{spans}\n")
    pd.DataFrame({"text": [words], "label": [tags]}).to_parquet(tmp_path / "rows.parquet")
    sentence = RawRow('["Ada", "wr\u00f6te"]', '["B-person", "O"]', "rows.jsonl:1")
    (tmp_path / "rows.csv").write_text('text,label\n"[""Ada""]",x\n')
    assert [list(files.read(settings(tmp_path / f"rows.{ending}"), 0, structured=STRUCTURED)) for ending in
            ("jsonl", "parquet", "csv")] == [
        [sentence, RawRow("Ada", '[{"end": 3, "label": "person", "start": 0}]', "rows.jsonl:2")],
        [sentence._replace(origin="rows.parquet:1")],
        [RawRow('["Ada"]', "x", "rows.csv:2")],
    ]  # fmt: skip


def test_a_text_within_a_list_has_the_faults_of_any_text(tmp_path: Path) -> None:
    lines = [{"text": ["a", "b\0"], "label": []}, {"text": ["x" * 600, "y" * 600], "label": []}]
    (tmp_path / "rows.jsonl").write_text("\n".join([*map(json.dumps, lines), '{"text": ["a"], "label": []}']))
    found = files.read(settings(tmp_path / "rows.jsonl", max_row_chars=1000), 0, structured=STRUCTURED)
    assert [getattr(row, "reason", None) for row in found] == ["nul", "too_long", None]


@pytest.mark.parametrize("name", ["train.conll", "train.bio", "train.iob2.gz"])
def test_a_sentence_of_words_with_tags_is_a_row_and_its_document_a_group(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(TAGS.encode()) if name.endswith(".gz") else TAGS.encode())
    found = list(files.read(settings(tmp_path), 0, structured=STRUCTURED))
    assert found == [
        RawRow('["Ada", "wrote"]', '["B-person", "O"]', f"{name}:3", group="train#1"),
        RawRow('["she"]', '["O"]', f"{name}:6", group="train#1"),
        RejectedRow(f"{name}:10", "ragged", found[2].detail, "no tag"),
    ]


def test_what_a_task_cannot_read_of_a_target_is_quarantined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "tagging_task", "tagging_task")
    lines = [{"text": ["Ada", "wrote"], "label": ["B-person", "O"]}, {"text": ["Ada"], "label": ["O", "O"]}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    params, paths = project_params(settings(tmp_path / "rows.jsonl")), Paths(tmp_path / "project")
    task = params.task.model_copy(update={"name": "tagging_task"})
    ingest(params.model_copy(update={"task": task}), paths)
    rows, refused = (pq.read_table(path).to_pylist() for path in (paths.raw, paths.unreadable))
    assert [(row["text"], row["label"]) for row in rows] == [("Ada wrote", '[[0,3,"person"]]')]
    assert refused == [
        {"origin": "rows.jsonl:2", "reason": "bad_target", "detail": "2 tags for 1 words", "excerpt": '["O", "O"]'}
    ]
    report = json.loads(paths.ingest_report.read_text())
    assert (report["quarantined_by_reason"]["bad_target"], report["labels_rewritten"]) == (1, 0)


def test_words_with_tags_are_refused_for_a_task_of_texts_and_with_columns_that_they_lack(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text(TAGS)
    with pytest.raises(ValueError, match=r"none of its rows can be read\. .* holds an array, expected a text"):
        read(tmp_path / "a.conll")
    with pytest.raises(ValueError, match=r"a\.conll holds words and their tags, and no column 'topic' \(ingest\.keep_"):
        read(tmp_path / "a.conll", keep_columns=["topic"])


NOTHING = ["", " ", "\t", "\u00a0", "\u3000", "\u200b", "\ufeff \u200d\u2060", "\u3164", "\u00ad\u034f"]


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_a_field_that_shows_nothing_is_missing_in_every_format_whatever_column_it_is_of(
    tmp_path: Path, ending: str
) -> None:
    names = ("text", "text_pair", "label", "region")
    rows = [*([empty] * 4 for empty in NOTHING if (ending, empty) != ("tsv", "\t")), ["a", "b", "c", "d"]]
    path = tmp_path / f"rows.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows]), path)
    elif ending == "jsonl":
        path.write_text("\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in rows))
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            separator = "," if ending == "csv" else "\t"
            csv.writer(file, delimiter=separator, quoting=csv.QUOTE_ALL).writerows([names, *rows])
    *empty, whole = kept(path, columns={"text_pair": "text_pair"}, keep_columns=["region"])
    assert len(empty) == len(rows) - 1
    assert {(row.text, row.text_pair, row.label, row.kept) for row in empty} == {(None, None, None, '{"region": null}')}
    assert (whole.text, whole.text_pair, whole.label, whole.kept) == ("a", "b", "c", '{"region": "d"}')


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_blanks_behind_the_separators_of_a_file_belong_to_no_field(tmp_path: Path, separator: str) -> None:
    lines = ("id, text, label", '1, "one, two", pos', "2, three, pos")
    (tmp_path / "rows.csv").write_text("\n".join(re.sub(", (?!two)", f"{separator} ", line) for line in lines))
    assert [(row.text, row.label) for row in kept(tmp_path / "rows.csv")] == [("one, two", "pos"), ("three", "pos")]


def test_csv_origins_are_the_lines_that_records_start_on(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes('\ufefftext,label\r\n"two\nlines",a\r\n\r\n"é, b",c\r\n'.encode())
    assert read(tmp_path / "rows.csv") == [
        RawRow("two\nlines", "a", "rows.csv:2"),
        RawRow("é, b", "c", "rows.csv:5"),
    ]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_another_separator_is_taken_where_it_makes_the_wanted_columns(tmp_path: Path, separator: str) -> None:
    (tmp_path / "rows.csv").write_text(f'label{separator}text\na{separator}"one, two"\n')
    assert read(tmp_path / "rows.csv") == [RawRow("one, two", "a", "rows.csv:2")]


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.parquet"])
def test_other_columns_are_carried_along_as_texts(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"text": ["x"], "region": ["north"], "label": ["a"], "age": [41], "more": ["not asked for"]})
    write = {"csv": frame.to_csv, "parquet": frame.to_parquet}.get(name.partition(".")[2])
    path = tmp_path / name
    write(path, index=False) if write else frame.to_json(path, orient="records", lines=True)
    (row,) = kept(path, keep_columns=["region", "age"])
    assert json.loads(row.kept or "") == {"age": "41", "region": "north"}


def test_a_row_has_the_same_id_when_its_folder_moves_and_when_its_file_is_gzipped(tmp_path: Path) -> None:
    rows = [("x", "a"), ("y", "b")]
    for folder, name in (("here", "2024/rows.csv"), ("there", "2024/rows.csv.gz")):
        (tmp_path / folder / "2024").mkdir(parents=True)
        write_rows(tmp_path / folder / name, rows)
    here, there = (kept(tmp_path / folder, pattern="**/*") for folder in ("here", "there"))
    assert [row.origin for row in there] == ["2024/rows.csv.gz:2", "2024/rows.csv.gz:3"]
    assert [row_id(row.origin) for row in here] == [row_id(row.origin) for row in there]


# encodings


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_a_byte_order_mark_says_the_encoding_and_lines_are_counted_in_characters(
    tmp_path: Path, name: str, codec: str
) -> None:
    write_rows(tmp_path / name, [("née Ωmega 日本", "a"), ("second", "b")])
    (tmp_path / name).write_bytes((tmp_path / name).read_text().encode(codec))
    first = 2 if name == "rows.csv" else 1
    assert read(tmp_path / name) == [
        RawRow("née Ωmega 日本", "a", f"{name}:{first}"),
        RawRow("second", "b", f"{name}:{first + 1}"),
    ]


@pytest.mark.parametrize(
    ("codec", "text"),
    [("latin-1", "déjà vu"), ("cp1251", "привет"), ("utf-16-le", "Ωmega"), ("shift_jis", "日本"), ("gb18030", "公园")],
)
def test_a_given_encoding_is_used(tmp_path: Path, codec: str, text: str) -> None:
    (tmp_path / "rows.csv").write_bytes(f"text,label\n{text},a\n".encode(codec))
    assert read(tmp_path / "rows.csv", encoding=codec) == [RawRow(text, "a", "rows.csv:2")]


def test_an_encoding_that_the_file_does_not_announce_is_asked_for_and_never_guessed(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes("text,label\nLe café était fermé,a\n".encode("latin-1"))
    message = r"rows\.csv, line 2: not UTF-8, .*Set ingest\.encoding.* cp1252 'Le café était fermé,a'"
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "rows.csv")
    (tmp_path / "wide.csv").write_bytes("text,label\nplain,a\n".encode("utf-16-be"))
    with pytest.raises(ValueError, match=r"wide\.csv is full of NUL bytes.* set ingest\.encoding to utf-16-be"):
        read(tmp_path / "wide.csv")


def test_an_encoding_that_does_not_exist_is_told_with_the_parameter() -> None:
    with pytest.raises(ValueError, match=r"'utf-88' is no encoding\. Allowed: auto, or a codec"):
        settings("x", encoding="utf-88")


# rows that cannot be read

BAD_LINES = (
    (b"caf\xe9,a", "not_text"),
    (b"nul \0 byte,a", "nul"),
    (b"one,two,three", "ragged"),
    (b"alone", "ragged"),
    (b'"said" he,a', "bad_quotes"),
    (b"x" * 5_000_000 + b",a", "too_long"),
)


def good_and_bad(path: Path) -> dict[str, str]:
    """A csv of 300 good rows, a quoted one of two lines, and BAD_LINES among them. Returns the origins of these."""
    lines, wrong = [b"text,label"], {}
    for at in range(300):
        lines.append(b"row %d of the good ones,a" % at)
        if at % 50 == 20:
            bad, reason = BAD_LINES[at // 50]
            lines.append(bad)
            wrong[f"{path.name}:{len(lines)}"] = reason
            lines += [b'"a quoted', b'newline",b']
    path.write_bytes(b"\r\n".join(lines) + b"\r\n")
    return wrong


def test_what_cannot_be_read_is_quarantined_with_file_and_line_and_the_counts_add_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = good_and_bad(tmp_path / "rows.csv")
    paths = Paths(tmp_path / "project")
    with caplog.at_level(logging.WARNING, logger="winnow"):
        ingest(project_params(settings(tmp_path / "rows.csv")), paths)
    refused = pq.read_table(paths.unreadable).to_pylist()
    assert {row["origin"]: row["reason"] for row in refused} == wrong
    assert all(len(row["excerpt"]) <= 210 for row in refused)
    assert refused[0]["excerpt"] == "caf\\xe9,a"
    report = json.loads(paths.ingest_report.read_text())
    assert report["quarantined_by_reason"] == {reason: list(wrong.values()).count(reason) for reason in UNREADABLE}
    assert report["read"] == 312 == report["kept"] + report["quarantined"]
    assert report["kept"] == 306 == pq.read_table(paths.raw).num_rows
    told = [record.getMessage() for record in caplog.records]
    assert any(message.startswith("ingest: rows.csv:23: not_text: byte 0xe9") for message in told)
    assert told[-1] == (
        "ingest: 6 of 312 rows cannot be read: bad_quotes 1, not_text 1, nul 1, ragged 2, too_long 1. "
        "See artifacts/data/unreadable.parquet."
    )


def test_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    good_and_bad(tmp_path / "rows.csv")
    for name in ("one", "two"):
        ingest(project_params(settings(tmp_path / "rows.csv")), Paths(tmp_path / name))
    for path in (Paths.raw, Paths.unreadable, Paths.ingest_report):
        one, two = (path.fget(Paths(tmp_path / name)).read_bytes() for name in ("one", "two"))  # type: ignore[attr-defined]
        assert one == two


def test_a_quote_that_is_never_closed_costs_its_own_line_alone(tmp_path: Path) -> None:
    lines = [f"row {at},a" for at in range(50)]
    lines[20] = '"row 20,a'
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *lines]))
    assert rejected(tmp_path / "rows.csv") == {"rows.csv:22": "bad_quotes"}
    assert [row.origin for row in kept(tmp_path / "rows.csv")] == [f"rows.csv:{at}" for at in range(2, 52) if at != 22]
    assert rejected(tmp_path / "rows.csv", max_row_chars=1_000) == {"rows.csv:22": "bad_quotes"}
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *lines, *["some more text,b"] * 100]))
    assert rejected(tmp_path / "rows.csv", max_row_chars=1_000) == {"rows.csv:22": "too_long"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": ', "not_json"),
        ('{"text": "\\ud800", "label": "a"}', "not_json"),
        ("[" * 200_000, "not_json"),
        ("[1]", "not_an_object"),
        ('{"text": "x", "lable": "a"}', "missing_column"),
        ('{"text": ["x"], "label": "a"}', "wrong_type"),
        ('{"text": "x", "label": {"a": 1}}', "wrong_type"),
        ('{"text": "\\u0000", "label": "a"}', "nul"),
    ],
)
def test_faulty_objects_are_quarantined_by_reason(tmp_path: Path, line: str, reason: str) -> None:
    good = '{"text": "good", "label": "a"}'
    (tmp_path / "rows.jsonl").write_text(f"{good}\n\n{line}\n{good}\n")
    assert rejected(tmp_path / "rows.jsonl") == {"rows.jsonl:3": reason}
    assert [row.origin for row in kept(tmp_path / "rows.jsonl")] == ["rows.jsonl:1", "rows.jsonl:4"]


def test_cells_of_parquet_that_are_no_texts_are_quarantined_by_row(tmp_path: Path) -> None:
    cells = pa.array([b"good", b"caf\xe9", b"x" * 2_000, b"nul\0", None], pa.binary())
    texts = pa.StringArray.from_buffers(5, cells.buffers()[1], cells.buffers()[2], cells.buffers()[0])
    pq.write_table(pa.table({"text": texts, "label": ["a"] * 5}), tmp_path / "rows.parquet")
    assert rejected(tmp_path / "rows.parquet", max_row_chars=1_000) == {
        "rows.parquet:2": "not_text", "rows.parquet:3": "too_long", "rows.parquet:4": "nul",
    }  # fmt: skip
    assert [row.text for row in kept(tmp_path / "rows.parquet")] == ["good", "x" * 2_000, None]


def test_a_dictionary_of_bytes_that_are_no_texts_is_quarantined_by_row_too(tmp_path: Path) -> None:
    codes, words = pa.array([0, 1, 0], pa.int32()), pa.array([b"good", b"caf\xe9"], pa.binary())
    texts = pa.StringArray.from_buffers(2, words.buffers()[1], words.buffers()[2])
    table = pa.table({"text": pa.DictionaryArray.from_arrays(codes, texts), "label": ["a"] * 3})
    pq.write_table(table, tmp_path / "rows.parquet")
    assert rejected(tmp_path / "rows.parquet") == {"rows.parquet:2": "not_text"}
    assert [row.text for row in kept(tmp_path / "rows.parquet")] == ["good", "good"]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("chars", [999, 1_000, 1_001, 1_002, 2_000, 2_001, 2_002])
def test_no_row_is_lost_or_counted_twice_after_a_line_as_long_as_allowed(tmp_path: Path, end: str, chars: int) -> None:
    """At every length at which a line could be cut, with every line end: csv and the lines beneath it."""
    lines = ["text,label", "x" * (chars - 2) + ",a", "", "next,b", "last,c"]
    (tmp_path / "rows.csv").write_bytes(end.join(lines).encode())
    rows = read(tmp_path / "rows.csv", max_row_chars=1_000)
    assert [row.origin for row in rows] == ["rows.csv:2", "rows.csv:4", "rows.csv:5"]
    assert rejected(tmp_path / "rows.csv", max_row_chars=1_000).keys() == ({"rows.csv:2"} if chars > 1_000 else set())


@pytest.mark.parametrize("chars", [999, 1_000, 1_001, 2_001])
def test_a_carriage_return_within_a_line_of_jsonl_ends_it_nowhere(tmp_path: Path, chars: int) -> None:
    lines = ["\r" * chars, '{"text": "next", "label": "a"}']
    (tmp_path / "rows.jsonl").write_bytes("\n".join(["[" + lines[0], lines[1]]).encode())
    rows = read(tmp_path / "rows.jsonl", max_row_chars=1_000)
    assert [row.origin for row in rows] == ["rows.jsonl:1", "rows.jsonl:2"]


def test_a_line_of_64_mib_takes_no_more_memory_than_allowed(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "rows.csv.gz", "wb", compresslevel=1) as file:
        file.write(b"text,label\nfirst,a\n")
        for _ in range(64):
            file.write(b"x" * (1 << 20))
        file.write(b",a\nlast,b\n")
    tracemalloc.start()
    first, long, last = read(tmp_path / "rows.csv.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(long, RejectedRow)
    assert (long.origin, long.reason) == ("rows.csv.gz:3", "too_long")
    assert (first.origin, last.origin) == ("rows.csv.gz:2", "rows.csv.gz:4")
    assert peak < 24 << 20


def test_a_long_row_is_read_where_it_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(f"text,label\n{'word ' * 1_000_000},a\n")
    (row,) = kept(tmp_path / "rows.csv", max_row_chars=6_000_000)
    assert len(row.text or "") == 5_000_000


def test_any_bytes_at_all_end_in_rows_or_in_one_message_and_never_in_a_lost_line(tmp_path: Path) -> None:
    """A good csv and jsonl with bytes changed at random: read = kept + rejected, or an error that names the file."""
    draw = random.Random(5)
    for name in ("rows.csv", "rows.jsonl"):
        write_rows(tmp_path / name, [(f'row {at}, "quoted" and é', "ab"[at % 2]) for at in range(60)])
        whole = (tmp_path / name).read_bytes()
        for _ in range(30):
            spoiled = bytearray(whole)
            for _ in range(draw.randint(1, 3)):
                spoiled[draw.randrange(len(spoiled))] = draw.randrange(256)
            (tmp_path / name).write_bytes(spoiled)
            rows = []
            with contextlib.suppress(ValueError):  # a header, or a whole file, that cannot be read
                rows = read(tmp_path / name)
            if not rows:
                with pytest.raises(ValueError, match=name):
                    read(tmp_path / name)
                continue
            origins = [int(row.origin.rpartition(":")[2]) for row in rows]
            assert origins == sorted(set(origins))
            assert len(kept(tmp_path / name)) >= 54
            assert len(rows) >= 57


def test_what_a_library_says_over_several_lines_is_told_on_one() -> None:
    assert one_line(OSError("not found.\n  Look elsewhere.")) == "not found. Look elsewhere"
    assert one_line(TimeoutError()) == "TimeoutError"


# which files, and which splits


def test_files_named_after_splits_give_splits(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\nx,a\n")
    (tmp_path / "test.jsonl").write_text('\n{"text": "y", "label": "b"}\n')
    pq.write_table(pa.table({"label": [7], "text": ["z"], "more": [0]}), tmp_path / "validation.parquet")
    (tmp_path / "notes.csv").write_text("not,rows\n")
    assert read(tmp_path) == [
        RawRow("y", "b", "test.jsonl:2", "test"),
        RawRow("x", "a", "train.csv:2", "train"),
        RawRow("z", "7", "validation.parquet:1", "validation"),
    ]
    (tmp_path / "test.csv").write_text("text,label\nx,a\n")
    with pytest.raises(ValueError, match=r"has test\.csv and test\.jsonl: the same rows twice\? Keep one"):
        read(tmp_path)


def test_files_beside_those_of_splits_are_named_and_a_test_split_alone_is_no_training_data(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("test.csv", "reviews.csv"):
        (tmp_path / name).write_text(f"text,label\n{name},a\n")
    with pytest.raises(
        ValueError, match=r"has test\.csv, named after a split, and beside it reviews\.csv, which is not"
    ):
        read(tmp_path)
    assert [row.text for row in kept(tmp_path, pattern="reviews*")] == ["reviews.csv"]
    assert not caplog.records
    (tmp_path / "train.csv").write_text("text,label\ntrain.csv,a\n")
    assert [row.text for row in kept(tmp_path)] == ["test.csv", "train.csv"]
    (record,) = caplog.records
    assert record.getMessage().endswith(
        "only files named after splits are read (test.csv, train.csv), not reviews.csv. ingest.pattern takes others."
    )


def test_shards_folders_and_names_of_ones_own_give_splits_too(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    for name in ("train-00000-of-00002.csv", "train-00001-of-00002.csv", "dev/b.csv", "dev/a.csv", "testimony.csv"):
        (tmp_path / name).write_text("text,label\nx,a\n")
    splits = {"train": "train", "validation": "dev", "test": "test", "transfer": None, "held_out": None}
    assert [(row.origin, row.split) for row in kept(tmp_path, splits=splits)] == [
        ("dev/a.csv:2", "validation"),
        ("dev/b.csv:2", "validation"),
        ("train-00000-of-00002.csv:2", "train"),
        ("train-00001-of-00002.csv:2", "train"),
    ]
    with pytest.raises(ValueError, match="two splits have the same name"):
        settings(tmp_path, splits=splits | {"test": "dev"})


def test_a_folder_without_files_of_splits_is_read_whole_and_a_pattern_says_which(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    for name in ("b.csv", "a.csv", "old/c.csv", "_draft.csv", ".hidden.csv", "notes.txt"):
        (tmp_path / name).write_text("text,label\nx,a\n")
    assert [row.origin for row in kept(tmp_path)] == ["a.csv:2", "b.csv:2"]
    assert {row.split for row in kept(tmp_path)} == {None}
    assert [row.origin for row in kept(tmp_path, pattern="**/*.csv")] == ["a.csv:2", "b.csv:2", "old/c.csv:2"]
    assert [row.origin for row in kept(tmp_path, pattern="old/*")] == ["old/c.csv:2"]
    with pytest.raises(FileNotFoundError, match=r"ingest\.pattern is '\*\.tsv', which no file in .*a\.csv, b\.csv"):
        read(tmp_path, pattern="*.tsv")
    (tmp_path.parent / "outside.csv").write_text("text,label\nx,a\n")
    with pytest.raises(FileNotFoundError, match="no file in"):
        read(tmp_path, pattern="../*.csv")


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.parquet"])
def test_a_column_can_hold_the_split(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"text": list("wxyz"), "part": ["fit", "dev", "test", None], "label": "a"})
    write = {"csv": frame.to_csv, "parquet": frame.to_parquet}.get(name.partition(".")[2])
    write(tmp_path / name, index=False) if write else frame.to_json(tmp_path / name, orient="records", lines=True)
    splits = {"train": "fit", "validation": "dev", "test": "test", "transfer": None, "held_out": None}
    rows = kept(tmp_path / name, split_column="part", splits=splits)
    assert [row.split for row in rows] == ["train", "validation", "test", None]
    with pytest.raises(ValueError, match=r"\(ingest\.split_column\) is 'fit'\. Allowed: train, validation, test"):
        read(tmp_path / name, split_column="part")


def test_a_csv_of_many_records_is_read_as_the_csv_module_reads_it(tmp_path: Path) -> None:
    """Against the plain reader of the standard library, on texts with every awkward character."""
    draw = random.Random(9)
    pieces = ['"', ",", "\n", "\r\n", "é", " ", "word", "\t", ";", "'"]
    rows = [("".join(draw.choices(pieces, k=draw.randint(1, 9))) + "x", "ab"[at % 2]) for at in range(2_000)]
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    assert [(row.text, row.label) for row in kept(tmp_path / "rows.csv")] == rows
    assert not rejected(tmp_path / "rows.csv")


def test_a_source_that_fails_half_way_leaves_the_earlier_rows(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "project")
    (tmp_path / "data").mkdir()
    write_rows(tmp_path / "data/a.csv", [("x", "a")])
    ingest(project_params(settings(tmp_path / "data")), paths)
    before = paths.raw.read_bytes()
    whole = write_rows(tmp_path / "data/b.csv.gz", [(f"row {at * at}", "a") for at in range(5_000)]).read_bytes()
    (tmp_path / "data/b.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"b\.csv\.gz is not a whole gzip file"):
        ingest(project_params(settings(tmp_path / "data")), paths)
    assert paths.raw.read_bytes() == before
    assert sorted(path.name for path in paths.raw.parent.iterdir()) == [
        "images.arrow",
        "raw.parquet",
        "unreadable.parquet",
    ]


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_every_separator_is_found_where_all_fields_are_quoted(tmp_path: Path, name: str, delimiter: str) -> None:
    path = tmp_path / name
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writerows([("text", "label"), ("hello; there", "a"), ("two\nlines", "b")])
    assert [(row.text, row.label) for row in kept(path)] == [("hello; there", "a"), ("two\nlines", "b")]


def test_a_first_line_larger_than_what_is_looked_at_may_hold_any_characters(tmp_path: Path) -> None:
    for shift in range(3):
        path = tmp_path / f"{shift}.jsonl"
        path.write_text('{"text": "' + "a" * shift + "é" * 700_000 + '", "label": "x"}\n', encoding="utf-8")
        assert len(kept(path, max_row_chars=1_000_000)) == 1


def test_a_file_beside_a_split_whose_name_goes_on_is_none(tmp_path: Path) -> None:
    for name in ("train.csv", "test.csv", "test.old.csv", "train.bak.csv", "test.notes/a.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"text,label\n{name},a\n")
    found = {row.text: row.split for row in kept(tmp_path, pattern="**/*.csv")}
    assert {name: split for name, split in found.items() if split} == {"train.csv": "train", "test.csv": "test"}


def test_a_file_in_capitals_is_read_like_any_other(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "B.CSV.GZ", "wt") as file:
        file.write("text,label\nhello,a\n")
    assert [row.text for row in kept(tmp_path)] == ["hello"]


@pytest.mark.parametrize("place", ["AKIA:ab/cd@bucket/x.csv", "AKIA:abcd@bucket/x.csv"])
def test_keys_in_a_url_are_refused_and_not_shown(place: str) -> None:
    with pytest.raises(ValueError, match="holds credentials in a URL") as error:
        read(f"s3://{place}")
    assert "cd" not in str(error.value)


# a header that is none


@pytest.mark.parametrize(
    ("first", "is_asked"),
    [
        ("Not worth it,neg", False),  # three words might be a name
        ("It was not worth it,neg", True),
        ("Fine.,pos", True),
        ("17,a ship,pos", True),
        ("a ship;0.5", True),
        ("title,body,stars", False),
        (",review,label", False),  # as pandas writes its index
        ("Date of Review,Review Text,Rating (1-5)", False),
    ],
)
def test_where_the_first_line_looks_like_a_row_a_header_is_asked_for(
    tmp_path: Path, first: str, is_asked: bool
) -> None:
    (tmp_path / "a.csv").write_text(f"{first}\nmore,neg\n")
    with pytest.raises(ValueError, match=r"a\.csv: no column 'text' \(ingest\.columns\.text\)\. Found: ") as error:
        read(tmp_path / "a.csv")
    assert ("Does the file have a header line?" in str(error.value)) == is_asked
    assert str(error.value).endswith("Set ingest.columns.text in params.yaml.")


# before anything runs


@pytest.mark.parametrize("ending", ["csv", "tsv.gz", "jsonl", "parquet"])
def test_a_column_that_is_not_there_is_told_before_anything_runs(tmp_path: Path, ending: str) -> None:
    file = write_rows(tmp_path / f"rows.{ending}", [("a", "x"), ("b", "y")])
    assert list(files.faults(settings(file))) == []
    (told,) = files.faults(settings(file, columns={"text": "txt"}))
    assert f"rows.{ending}" in told
    assert "no column 'txt' (ingest.columns.text). Found: text, label. " in told
    assert len(told.splitlines()) == 1


def test_a_look_at_the_columns_says_nothing_of_rows_and_warns_of_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_rows(tmp_path / "train.csv", [("a", "x")])
    (tmp_path / "other.csv").write_text("neither\n1\n")  # is not read: not named after a split
    (tmp_path / "test.jsonl").write_text('{"label": "x"}\n{"text": "b", "label": "x"}\n')
    assert list(files.faults(settings(tmp_path))) == []
    assert caplog.text == ""


# what is small and holds much


LONG = "x" * 900_000


def bomb(path: Path, rows: int = 200, text: str = "text", **options: Any) -> Path:
    """A Parquet of rows of 900 kB, some hundred bytes in all, whose texts are the column `text`."""
    pq.write_table(pa.table({text: [LONG] * rows, "label": ["a"] * rows}), path, compression="zstd", **options)
    assert path.stat().st_size < 100_000
    return path


ENCODED: dict[str, dict[str, Any]] = {
    "dictionary": {},
    "plain": {"use_dictionary": False},
    "delta": {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY", "label": "PLAIN"}},
}


@pytest.mark.parametrize("options", [ENCODED["dictionary"], ENCODED["delta"]], ids=["dictionary", "delta"])
def test_of_a_parquet_no_more_is_decoded_at_once_than_allowed(tmp_path: Path, options: dict[str, Any]) -> None:
    with bomb(tmp_path / "rows.parquet", **options).open("rb") as file:
        rows = Table(file).rows(["text", "label"], None)
        before, peak = pa.total_allocated_bytes(), 0
        for _, values in zip(range(71), rows, strict=False):
            assert values == (LONG, "a")
            peak = max(peak, pa.total_allocated_bytes() - before)
    assert peak < 2 * BATCH_BYTES, "all at once, it were 180 MB"


@pytest.mark.parametrize("column", ["text", "review.text"])  # a dot is also how Parquet names what lists hold
def test_a_parquet_that_unzips_to_more_than_any_text_does_is_refused_before_it_does(
    tmp_path: Path, column: str
) -> None:
    path = bomb(tmp_path / "rows.parquet", 100, column, use_dictionary=False)
    before = pa.total_allocated_bytes()
    with pytest.raises(
        ValueError, match=rf"rows\.parquet has a column that unzips to over 1,000 times .* \('{column}', 90,"
    ):
        read(path, columns={"text": column})
    assert pa.total_allocated_bytes() - before < 10_000_000


def test_a_parquet_whose_groups_of_rows_call_a_column_otherwise_is_limited_all_the_same(tmp_path: Path) -> None:
    path = bomb(tmp_path / "rows.parquet", 100, use_dictionary=False)
    start, _, end = path.read_bytes().rpartition(b"\x04text")  # that of the group; the schema's is before it
    path.write_bytes(start + b"\x04none" + end)
    with pytest.raises(ValueError, match=r"has a column that unzips to over 1,000 times .* \('text', 90,"):
        read(path)


def test_a_parquet_whose_names_are_not_utf_8_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.parquet", [("a", "x")])
    path.write_bytes(path.read_bytes().replace(b"\x04text", b"\x04te\xfft"))
    with pytest.raises(ValueError, match=r"rows\.parquet is not a whole Parquet file .*codec can't decode"):
        read(path)


@pytest.mark.parametrize("zipped", ["", ".gz"])
@pytest.mark.parametrize("options", ENCODED.values(), ids=ENCODED.keys())
def test_a_parquet_that_holds_more_than_allowed_is_refused_by_name(
    tmp_path: Path, options: dict[str, Any], zipped: str
) -> None:
    path = bomb(tmp_path / "rows.parquet", 20, **options)
    if zipped:
        (tmp_path / "rows.parquet.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    given = next(tmp_path.iterdir())
    assert len(kept(given, max_file_bytes=20 * 900_100)) == 20
    with pytest.raises(
        ValueError, match=rf"{given} holds more than 15,000,000 bytes, unzipped \(ingest.max_file_bytes"
    ):
        read(given, max_file_bytes=15_000_000)


def test_a_parquet_of_too_many_empty_rows_is_refused_before_any_is_read(tmp_path: Path) -> None:
    count = 300_000
    nothing = pa.DictionaryArray.from_arrays(pa.nulls(count, pa.int8()), pa.array(["x"]))
    pq.write_table(pa.table({"text": nothing, "label": nothing}), tmp_path / "rows.parquet")
    assert (tmp_path / "rows.parquet").stat().st_size < 10_000
    with pytest.raises(ValueError, match="holds more than 500,000 bytes"):
        next(files.read(settings(tmp_path / "rows.parquet", max_file_bytes=500_000), 0))


@pytest.mark.parametrize(
    ("name", "start", "part"),
    [
        ("rows.csv.gz", b"text,label\nx,a\n", b"\n"),
        ("rows.jsonl.gz", b'{"text": "x", "label": "a"}\n', b"\n"),
        ("rows.jsonl.gz", b'{"text": "x", "label": "a"}\n', b" "),
        ("rows.parquet.gz", b"PAR1", b"\0"),
        ("rows.tsv", b"text\tlabel\nx\ta\n", b"y\ta\n"),
    ],
)
def test_unzipping_ends_where_a_file_holds_more_than_allowed(
    tmp_path: Path, name: str, start: bytes, part: bytes
) -> None:
    content = start + part * (600_000 // len(part))
    (tmp_path / name).write_bytes(gzip.compress(content, 1) if name.endswith(".gz") else content)
    with pytest.raises(ValueError, match=rf"{name} holds more than 500,000 bytes, unzipped"):
        read(tmp_path / name, max_file_bytes=500_000)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())])
@pytest.mark.parametrize("options", ENCODED.values(), ids=ENCODED.keys())
def test_texts_of_every_kind_of_column_and_encoding_come_out_as_they_are(
    tmp_path: Path, kind: pa.DataType, options: dict[str, object]
) -> None:
    texts = ["é", None, "x", "é", "", *(f"text {number}" for number in range(2_000))]
    if pa.types.is_dictionary(kind) and not options.get("use_dictionary", True):
        kind = pa.string()  # pyarrow itself reads no such column back
    table = pa.table({"text": pa.array(texts, pa.string()).cast(kind), "label": ["a"] * len(texts)})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=700, **options)
    assert [row.text for row in kept(tmp_path / "rows.parquet")] == [text or None for text in texts]
