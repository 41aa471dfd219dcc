"""Answers that mark places of a text: as pieces of it, and in words."""

from __future__ import annotations

import random

import numpy as np
import pytest
from review_fixtures import answered, entity_flip, entity_review, example_review

from flows.review.comparison import _flips
from flows.review.marks import Mark, Marked, in_words, marked, pieces, window
from flows.review.page.marked import Part, colours, lines
from flows.review.pull_request import as_markdown
from flows.review.row_images import Rows
from flows.review.task import task_measures

TEXT = "Ada wrote to Babbage"
ADA, BABBAGE = Mark(0, 3, "person"), Mark(13, 20, "person")


def test_marks_at_both_ends_of_a_text_leave_what_is_between_plain() -> None:
    assert pieces(TEXT, [ADA, BABBAGE], 0, 20) == [("Ada", (ADA,)), (" wrote to ", ()), ("Babbage", (BABBAGE,))]


def test_marks_that_overlap_are_each_on_all_of_their_characters() -> None:
    one, other = Mark(0, 9, "event"), Mark(4, 12, "verb")
    assert pieces(TEXT, [one, other], 0, 20) == [
        ("Ada ", (one,)), ("wrote", (one, other)), (" to", (other,)), (" Babbage", ()),
    ]  # fmt: skip


@pytest.mark.parametrize("mark", [(20, 25, "x"), (-4, 0, "x"), (5, 5, "x"), (9, 2, "x"), (40, 50, "x")])
def test_marks_of_no_character_of_the_text_mark_nothing_and_are_told_by_their_places(
    mark: tuple[int, int, str],
) -> None:
    found = pieces(TEXT, [Mark(*mark)], 0, 20)
    assert "".join(piece.text for piece in found) == TEXT
    assert {piece.marks for piece in found} == {()}
    assert in_words(TEXT, [Mark(*mark)]) == f"x {mark[0]} to {mark[1]}"


def test_every_character_is_marked_by_the_marks_that_hold_it_wherever_the_text_is_cut() -> None:
    draw = random.Random(3)
    for _ in range(300):
        marks = [Mark(draw.randint(-3, 24), draw.randint(-3, 24), kind) for kind in "xyz"]
        start = draw.randint(0, 19)
        end = draw.randint(start, 20)
        found = pieces(TEXT, marks, start, end)
        assert "".join(piece.text for piece in found) == TEXT[start:end]
        held = [piece.marks for piece in found for _ in piece.text]
        assert held == [tuple(one for one in marks if one.start <= at < one.end) for at in range(start, end)]


def test_a_long_text_is_shown_where_the_first_answer_differs() -> None:
    late = Marked((ADA,), (ADA,), (ADA, Mark(700, 705, "person")))
    assert window("x" * 1000, late, 400) == (600, 1000)
    assert window("x" * 2000, late, 400) == (600, 1000)
    assert window("x" * 900, late, 400) == (500, 900)
    assert window("x" * 1000, Marked((), (ADA,), ()), 400) == (0, 400)
    assert window("short", late, 400) == (0, 5)


def test_a_line_says_which_marks_are_gone_new_wrong_and_out_of_sight() -> None:
    text = f"Ada {'x' * 600} met Bob."
    met = text.index("Bob")
    flip = entity_flip(
        text, [(met, met + 3, "person")], [(met, met + 3, "place"), ADA], [ADA, (met, met + 3, "person")]
    )
    assert flip.marked is not None
    colour = colours([flip])
    assert colour == {"person": 1, "place": 2}
    truth, before, after = lines(flip, flip.marked, colour, 400)
    assert [part for line in (truth, before, after) for part in line.parts if part.kind] == [
        Part("Bob", "person", 1), Part("Bob", "place", 2, "−", "✗"), Part("Bob", "person", 1, "+"),
    ]  # fmt: skip
    assert [line.elsewhere for line in (truth, before, after)] == ["", 'person: "Ada"', 'person: "Ada"']
    assert truth.parts[0].text == "…"


def test_marks_in_words_have_the_class_and_the_text() -> None:
    assert in_words(TEXT, [ADA, BABBAGE]) == 'person: "Ada"; person: "Babbage"'
    assert in_words("", [ADA]) == "person 0 to 3"
    assert in_words("x" * 50, [Mark(0, 50, "y")]) == f'y: "{"x" * 39}…"'
    assert in_words(TEXT, [ADA] * 10).endswith('person: "Ada"; 2 more')


def test_a_comment_has_spans_in_words_and_not_as_json() -> None:
    flip = entity_flip("Ada | @all <b>", [(0, 3, "person")], [], [(6, 14, "a|b")], sure_before=0.5, sure_after=0.25)
    told = as_markdown(entity_review(flip))
    assert '| person: "Ada" | none (50%) | a\\|b: "@\u2060all &lt;b&gt;" (25%) |' in told
    assert "[[" not in told.partition("Test rows with another answer")[2]


def test_answers_that_name_no_places_have_no_marks() -> None:
    assert marked(None, "a", "b", "c") is None
    assert colours(example_review().flips) == {}


def test_the_rows_of_a_review_have_the_marks_of_their_own_task() -> None:
    truths, before, after = (['[[0,3,"person"]]', "[]"], ["[]", "[]"], ['[[13,20,"place"]]', "[]"])
    old, new = (answered(truths, answers, scores_N=np.zeros(2)) for answers in (before, after))
    (flip,) = _flips("student", old, new, Rows({"0": TEXT}, lambda _: ""), task_measures("token_classification"))
    assert (flip.text, flip.marked) == (TEXT, Marked((ADA,), (), (Mark(13, 20, "place"),)))
    (flip,) = _flips("student", old, new, Rows({"0": TEXT}, lambda _: ""), task_measures("text_classification"))
    assert flip.marked is None
