"""Broken spans as JSON lines and as columns have them: each told with its place and the next step, the others read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_broken_targets import assert_told, ingested

ENTITIES = ("token_classification", "entity_f1")
ADA = '[[0,3,"person"]]'
ALLOWED = "Allowed: a list of tags, one for each word; or spans, as [[start, end, type], ...]"
MEND = "Mend it; spans of one text may not overlap"
NO_TYPE = "Write the capital letter O for a word of no span"
TEXT, WORDS = '"Ada wrote"', '["Ada", "wrote"]'

SPANS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    # the text and its label as JSON, the reason, what is said
    "an end behind the text": (TEXT, '[[0,30,"x"]]', "bad_target", ("outside the text, which has 9 characters", MEND)),
    "a start before the text": (TEXT, '[[-3,3,"x"]]', "bad_target", ("is outside the text", MEND)),
    "an end before the start": (TEXT, '[[3,0,"x"]]', "bad_target", ("[3, 0, 'x'] is outside the text", MEND)),
    "an end without end": (TEXT, f'[[0,{"9" * 30},"x"]]', "bad_target", ("is outside the text", MEND)),
    "no characters": (TEXT, '[[3,3,"x"]]', "bad_target", ("[3, 3, 'x'] is empty", MEND)),
    "a blank alone": (TEXT, '[[3,4,"x"]]', "bad_target", ("is empty", MEND)),
    "two that overlap": (TEXT, '[[0,3,"x"],[2,5,"y"]]', "bad_target", ("[0, 3, 'x'] and [2, 5, 'y'] overlap", MEND)),
    "one in another": (TEXT, '[[0,9,"x"],[4,9,"y"]]', "bad_target", ("overlap", MEND)),
    "one twice": (TEXT, '[[0,3,"x"],[0,3,"x"]]', "bad_target", ("overlap", MEND)),
    "an empty type": (TEXT, '[[0,3,""]]', "bad_target", ("[0, 3, ''] has no type", MEND)),
    "null for a type": (TEXT, "[[0,3,null]]", "bad_target", ("[0, 3, null] is no span", ALLOWED)),
    "a number for a type": (TEXT, "[[0,3,1]]", "bad_target", ("[0, 3, 1] is no span", ALLOWED)),
    "a start in quotes": (TEXT, '[["0",3,"x"]]', "bad_target", ('["0", 3, "x"] is no span', ALLOWED)),
    "a start with a point": (TEXT, '[[0.0,3,"x"]]', "bad_target", ('[0.0, 3, "x"] is no span', ALLOWED)),
    "a truth for a start": (TEXT, '[[true,3,"x"]]', "bad_target", ('[true, 3, "x"] is no span', ALLOWED)),
    "an object without an end": (TEXT, '[{"start":0,"label":"x"}]', "bad_target", ('"start": 0} is no span', ALLOWED)),
    "two parts": (TEXT, "[[0,3]]", "bad_target", ("[0, 3] is no span", ALLOWED)),
    "four parts": (TEXT, '[[0,3,"x",1]]', "bad_target", ('[0, 3, "x", 1] is no span', ALLOWED)),
    "a span outside a list": (TEXT, '[0,3,"x"]', "bad_target", ("0 is no span", ALLOWED)),
    "an object for a list": (TEXT, '{"start":0,"end":3,"label":"x"}', "bad_target", ("is no list", ALLOWED)),
    "a list in a text, cut short": (TEXT, '"[[0,3"', "bad_target", ("is no JSON", ALLOWED)),
    "tags of a text that is not cut": (TEXT, '["B-x","O"]', "bad_target", ("the text is no list of texts", ALLOWED)),
    "tags of words among which is a number": ('["Ada", 3]', '["B-x","O"]', "bad_target", ("no list of texts", ALLOWED)),
    "fewer tags than words": (WORDS, '["B-x"]', "bad_target", ("2 words have 1 tags. Give each word one tag",)),
    "null among tags": (WORDS, '["B-x",null]', "bad_target", ("null is no tag. Give each word the name of its tag",)),
    "numbers for tags": (WORDS, "[1,0]", "bad_target", ("1 is no tag. Give each word the name of its tag",)),
    "a tag without a type": (WORDS, '["B-","O"]', "bad_target", ("the tag 'B-' names no type", NO_TYPE)),
    "a tagged word without characters": ('["Ada", ""]', '["O","B-x"]', "bad_target", ("is empty", MEND)),
    "an object for a text": ('{"a": 1}', "[]", "wrong_type", ("holds an object, expected a text or an array",)),
    "NUL in the text": ('"A\\u0000da wrote"', '[[0,3,"x"]]', "nul", ("a NUL byte", "tr -d")),
    "a bracket that is not closed": (TEXT, '[[0,3,"x"]', "not_json", ("Each line must be one object",)),
    "lists in lists without end": (TEXT, "[" * 9999, "not_json", ("Each line must be one object",)),
}  # fmt: skip


@pytest.mark.parametrize("name", SPANS)
def test_a_line_of_json_whose_spans_cannot_be_right_is_told_and_the_others_are_read(tmp_path: Path, name: str) -> None:
    text, label, reason, says = SPANS[name]
    right = json.dumps({"text": "Ada wrote", "label": [[0, 3, "person"]]})
    broken = f'{{"text": {text}, "label": {label}}}'
    (tmp_path / "a.jsonl").write_text(f"{right}\n{broken}\n{right}\n", encoding="utf-8")
    assert_told(tmp_path / "a.jsonl", ENTITIES, [ADA, ADA], 2, reason, says)


COLUMNS = "Allowed: a word, and in the last column its tag, on each line"
SCHEME = "Write all tags in one scheme: BIO, BIOES or BILOU"
SENTENCES: dict[str, tuple[bytes, str, tuple[str, ...]]] = {
    # a sentence from line 4 on, the reason, what is said
    "a word without a tag": (b"Ada B-x\nwrote\n", "ragged", ("line 5 has 1 column, the file's first 2", COLUMNS)),
    "a column more": (b"Ada B-x\nwrote x O\n", "ragged", ("line 5 has 3 columns, the file's first 2", COLUMNS)),
    "a word with a blank": (b"New York B-x\n", "ragged", ("line 4 has 3 columns", COLUMNS)),
    "commas for blanks": (b"Ada,B-x\nwrote,O\n", "ragged", ("line 4 has 1 column, the file's first 2", COLUMNS)),
    "a tab and no tag": (b"Ada\tB-x\nwrote\t\n", "ragged", ("line 5 has no tag", COLUMNS)),
    "a tab and no word": (b"Ada\tB-x\n\tO\n", "ragged", ("line 5 has no word", COLUMNS)),
    "a tab too many": (b"Ada\tB-x\nwrote\t\tO\n", "ragged", ("line 5 has 3 columns, the file's first 2", COLUMNS)),
    "NUL": (b"Ada B-x\nwr\0te O\n", "nul", ("a NUL byte", "tr -d")),
    "a prefix without a type": (b"Ada B-\nwrote O\n", "bad_target", ("the tag 'B-' names no type", NO_TYPE)),
    "a small o": (b"Ada B-x\nwrote o\n", "bad_target", ("the tag 'o' names no type", NO_TYPE)),
    "a zero for an O": (b"Ada B-x\nwrote 0\n", "bad_target", ("the tag '0' names no type", NO_TYPE)),
    "a dash for an O": (b"Ada B-x\nwrote -\n", "bad_target", ("the tag '-' names no type", NO_TYPE)),
    "an underscore for an O": (b"Ada B-x\nwrote _\n", "bad_target", ("the tag '_' names no type", NO_TYPE)),
    "a prefix and nothing said": (b"Ada I-_\nwrote O\n", "bad_target", ("the tag 'I-_' names no type", NO_TYPE)),
    "a bracket for a tag": (b"Ada (x*\nwrote *)\n", "bad_target", ("the tag '(x*' names no type", NO_TYPE)),
    "an unknown prefix": (b"Ada B-x\nwrote X-x\n", "bad_target", ("the tag 'X-x' has no prefix", SCHEME)),
    "a type without a prefix": (b"Ada B-x\nwrote x\n", "bad_target", ("'x' has no prefix, and 'B-x' has one", SCHEME)),
    "a small prefix": (b"Ada B-x\nwrote i-x\n", "bad_target", ("the tag 'i-x' has no prefix", SCHEME)),
    "a comment behind a word": (b"Ada B-x\n# of 1843\n", "ragged", ("line 5 has 3 columns", COLUMNS)),
    "a row of numbered words": (b"1\tAda\tB-x\n2\twrote\tO\n3\t.\tO\n", "ragged", ("first column counts", "cut -f 2-")),
}  # fmt: skip


@pytest.mark.parametrize("name", SENTENCES)
def test_a_sentence_whose_tags_cannot_be_right_is_told_and_the_others_are_read(tmp_path: Path, name: str) -> None:
    broken, reason, says = SENTENCES[name]
    right = b"Ada NN B-person\nwrote VB O\n" if name == "a row of numbered words" else b"Ada B-person\nwrote O\n"
    right = right.replace(b" ", b"\t") if b"\t" in broken else right
    (tmp_path / "a.conll").write_bytes(right + b"\n" + broken + b"\n" + right)
    assert_told(tmp_path / "a.conll", ENTITIES, [ADA, ADA], 4, reason, says)


FILES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", r"is empty \(0 bytes\)\. Check that it was written"),
    "blank lines": (b"\n \n\n", r"has no rows\. Check that it was written to the end"),
    "a mark of a document alone": (b"-DOCSTART- -X- O\n\n", r"has no rows\. Check that it was written to the end"),
    "words alone": (b"Ada\nwrote\n\nBabbage\n", r"line 1 has 1 column: separated by tabs or blanks\. Allowed: a word"),
    "a table under that name": (b'text,label\nAda,"[]"\n', r"line 1 has 1 column: .* in the last column its tag"),
    "objects under that name": (b'{"text": "Ada", "label": []}\n', r"gave no rows, and 1 that cannot be read"),
    "numbered words alone": (b"1\ta\tO\n2\tb\tO\n3\tc\tO\n", r"The word must stand there: take the numbers out"),
    "another encoding": ("Zoë B-x\nschrieb O\n".encode("cp1252") * 9, r"line 1: not UTF-8.* Set ingest\.encoding"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_columns_that_cannot_be_read_is_named_with_the_next_step(tmp_path: Path, name: str) -> None:
    content, says = FILES[name]
    (tmp_path / "a.conll").write_bytes(content)
    with pytest.raises(ValueError, match=says):
        ingested(tmp_path / "a.conll", ENTITIES)


def test_what_people_write_beside_words_is_read(tmp_path: Path) -> None:
    """Comments, a document's mark, Windows' ends of lines, blanks behind tags, and a first sentence that is cut."""
    file = (
        "Bo\n\n# id 1\nAda\tB-person\r\nwrote\tO \r\n\r\n-DOCSTART-\tO\n\n# id 2\n# text = Ada wrote\nAda\tB-person\n"
    )
    (tmp_path / "a.conll").write_text(file, encoding="utf-8", newline="")
    found, rejected, _ = ingested(tmp_path / "a.conll", ENTITIES)
    assert found == [ADA, ADA]
    assert [(row["origin"], row["reason"]) for row in rejected] == [("a.conll:1", "ragged")]


def test_a_word_may_be_a_number_sign(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("# O\n1 B-place\n", encoding="utf-8")
    assert ingested(tmp_path / "a.conll", ENTITIES)[0] == ['[[2,3,"place"]]']
