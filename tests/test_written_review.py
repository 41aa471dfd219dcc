"""Written texts in a review: beside each other, with the words that turned."""

from __future__ import annotations

import pytest
from review_fixtures import AFTER, BEFORE, written_flip, written_review

from flows.review.page.marked import written
from flows.review.pull_request import as_markdown
from flows.review.written import Run, beside, shortened, start_of


def test_words_that_one_text_has_alone_are_told_apart() -> None:
    one, other = beside(BEFORE, AFTER, 400)
    assert [run.text for run in one if not run.shared] == ["runs", "green "]
    assert [run.text for run in other if not run.shared] == ["walks"]
    for runs, whole in ((one, BEFORE), (other, AFTER)):
        assert "".join(run.text for run in runs) == whole


@pytest.mark.parametrize(("one", "other"), [("", "a b"), ("a b", ""), ("", ""), ("same", "same"), ("日本語", "日本人")])
def test_any_two_texts_can_stand_beside_each_other(one: str, other: str) -> None:
    for runs, whole in zip(beside(one, other, 50), (one, other), strict=True):
        assert "".join(run.text for run in runs) == whole


def test_of_long_texts_the_part_with_the_first_difference_is_shown() -> None:
    one, other = "word " * 100 + "here", "word " * 100 + "there"
    assert start_of(one, other, 40) == 490
    runs = beside(one, other, 40)
    assert runs[0] == (Run("…", shared=True), Run("word word ", shared=True), Run("here", shared=False))
    assert shortened(one, 490, 40) == "…word word here"
    assert shortened(one, 0, 9) == "word word…"
    assert start_of("ab", "ac", 40) == 0


def test_the_page_marks_what_turned_with_a_sign() -> None:
    before, after = written(written_flip(), 400)
    assert [(part.text, part.turn) for part in before.parts if part.turn] == [("runs", "−"), ("green ", "−")]
    assert [(part.text, part.turn) for part in after.parts if part.turn] == [("walks", "+")]


def test_the_comment_on_a_pull_request_cuts_long_texts_where_they_differ() -> None:
    long = "very " * 200
    text = as_markdown(written_review(written_flip(long + "good", long + "bad")))
    line = next(line for line in text.splitlines() if "good" in line)
    assert "bad" in line
    assert len(line) < 800
