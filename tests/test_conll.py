"""Columns of words and tags: sentences, documents, and lines that are none."""

from __future__ import annotations

from stages.reading.conll import Sentence, sentences
from stages.reading.lines import Fault, Line


def read(text: str) -> list[Sentence]:
    return list(sentences(Line(number, line, None) for number, line in enumerate(text.splitlines(True), start=1)))


def test_the_first_column_is_the_word_and_the_last_its_tag() -> None:
    assert read("Ada NNP B-PER\nwrote VBD O\n\nBabbage NNP B-PER\n") == [
        Sentence(1, 1, ("Ada", "wrote"), ("B-PER", "O")),
        Sentence(4, 2, ("Babbage",), ("B-PER",)),
    ]


def test_tabs_separate_where_there_is_one_so_that_a_word_may_hold_a_space() -> None:
    assert read("New York\tB-place\r\n.\tO\r\n")[0].words == ("New York", ".")


def test_a_no_break_space_stands_within_a_word() -> None:
    assert read("10\u00a0000  B-n\nfoo O\n\nbar O\n") == [
        Sentence(1, 1, ("10\u00a0000", "foo"), ("B-n", "O")), Sentence(4, 2, ("bar",), ("O",)),
    ]  # fmt: skip


def test_sentences_of_a_marked_document_belong_together() -> None:
    found = read("-DOCSTART- -X- O\n\na B-x O\n\nb I-x O\n\n-DOCSTART- -X- O\n\nc O O\n")
    assert [(sentence.document, sentence.words) for sentence in found] == [(1, ("a",)), (1, ("b",)), (2, ("c",))]


def test_a_line_with_other_columns_makes_its_sentence_a_fault_and_no_other() -> None:
    found = read("\na O\n\nb\nc O\n\nd O")
    assert [sentence.words for sentence in found] == [("a",), (), ("d",)]
    assert found[1].place == 4
    assert found[1].fault is not None
    assert found[1].fault.reason == "ragged"
    assert found[1].fault.detail.startswith("line 4 has 1 column, the file's first 2. Allowed: a word")


def test_a_line_that_cannot_be_read_is_the_fault_of_its_sentence() -> None:
    lines = [Line(1, "a O\n", None), Line(2, "\udcff O\n", Fault("not_text", "a byte")), Line(3, "\n", None)]
    assert list(sentences(lines)) == [Sentence(1, 1, (), (), Fault("not_text", "a byte"), "a O\n")]


def test_numbers_before_words_are_told_in_short_sentences_too() -> None:
    found = read("1\ta\tO\n2\tb\tO\n\n1\tc\tO\n\n1\td\tO\n2\te\tO\n3\tf\tO\n")
    assert [sentence.fault and sentence.fault.reason for sentence in found] == ["ragged"] * 3
    assert read("1\tc\tB-number\n")[0].words == ("1",)


def test_a_line_before_a_sentence_without_a_tag_at_its_end_is_a_comment() -> None:
    found = read("# doc1\nAda B-x\nwrote O\n\n# O\n1 O\n\n# end\n")
    assert [sentence.words for sentence in found] == [("Ada", "wrote"), ("#", "1")]


def test_a_file_of_single_words_has_no_tags() -> None:
    (found,) = read("a\nb\n")
    assert found.fault is not None
