"""Labelled spans: tags and back, one canonical text, mistakes, and what a change of the text does to them."""

from __future__ import annotations

import random
import re
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.tasks.shared import carrying
from stages.tasks.shared.carrying import carried
from stages.tasks.shared.spans import Span, as_text, faults, from_text, joined, of_tags, tags_of

TEXT, WORDS = joined(["Ada", "Lovelace", "wrote", "to", "Babbage"])
PEOPLE = (Span(0, 12, "person"), Span(22, 29, "person"))


@pytest.mark.parametrize(
    "tags",
    [
        ["B-person", "I-person", "O", "O", "B-person"],
        ["B-person", "E-person", "O", "O", "S-person"],
        ["B-person", "L-person", "O", "O", "U-person"],
        ["I-person", "I-person", "O", "O", "I-person"],
        ["person", "person", "O", "O", "person"],
    ],
)
def test_tags_of_every_scheme_give_the_same_spans(tags: list[str]) -> None:
    assert of_tags(tags, WORDS) == PEOPLE
    assert [TEXT[span.start : span.end] for span in of_tags(tags, WORDS)] == ["Ada Lovelace", "Babbage"]


def test_a_span_ends_before_another_that_begins_and_before_another_type() -> None:
    _, offsets = joined(["a", "b", "c", "d"])
    assert of_tags(["B-x", "B-x", "I-y", "I-y"], offsets) == (Span(0, 1, "x"), Span(2, 3, "x"), Span(4, 7, "y"))
    assert of_tags(["B-x", "E-x", "I-x", "O"], offsets) == (Span(0, 3, "x"), Span(4, 5, "x"))


def test_a_type_with_a_dash_is_no_prefix() -> None:
    assert of_tags(["B-per-son", "work-of-art"], joined(["a", "b"])[1]) == (
        Span(0, 1, "per-son"), Span(2, 3, "work-of-art"),
    )  # fmt: skip


def test_of_several_tokens_in_one_character_the_first_says_its_span() -> None:
    emoji = [(3, 4), (3, 4), (3, 4), (5, 8)]
    assert of_tags(["B-org", "B-per", "O", "B-per"], emoji) == (Span(3, 4, "org"), Span(5, 8, "per"))
    assert of_tags(["B-org", "I-org", "I-org", "I-org"], emoji) == (Span(3, 8, "org"),)


def test_tokens_that_share_a_character_with_a_span_are_of_it() -> None:
    pieces = [(0, 0), (0, 3), (4, 8), (8, 12), (13, 18), (19, 21), (22, 25), (25, 29), (0, 0)]
    assert tags_of(PEOPLE, pieces) == [
        "O", "B-person", "I-person", "I-person", "O", "O", "B-person", "I-person", "O",
    ]  # fmt: skip
    assert tags_of((Span(2, 5, "x"),), [(0, 3), (3, 4), (4, 8)]) == ["B-x", "I-x", "I-x"]


def test_a_window_that_begins_within_a_span_has_the_rest_of_it() -> None:
    assert tags_of(PEOPLE, [(4, 12), (13, 18)]) == ["B-person", "O"]


@given(st.data())
def test_spans_at_the_ends_of_words_come_back_from_their_tags(data: st.DataObject) -> None:
    words = data.draw(st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=12))
    _, offsets = joined(words)
    spans, at = [], 0
    while at < len(words):
        length = data.draw(st.integers(0, min(3, len(words) - at)))
        if length:
            spans.append(Span(offsets[at][0], offsets[at + length - 1][1], data.draw(st.sampled_from("xy"))))
        at += max(1, length)
    assert of_tags(tags_of(spans, offsets), offsets) == tuple(spans)


def test_spans_are_one_text_in_whatever_order_they_come() -> None:
    assert as_text(reversed(PEOPLE)) == '[[0,12,"person"],[22,29,"person"]]'
    assert from_text('[[22, 29, "person"], [0, 12, "person"]]') == PEOPLE
    assert from_text("[]") == ()


@pytest.mark.parametrize("text", ["person", "[1]", '[["0", 1, "x"]]', '{"a": 1}', "[[0, 1]]", "[[0, 1.5, 2]]"])
def test_what_is_no_list_of_spans_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no (list of spans|span)"):
        from_text(text)


def test_mistakes_of_spans_are_named() -> None:
    spans = [Span(0, 3, "x"), Span(2, 5, "y"), Span(6, 6, "x"), Span(8, 12, "x"), Span(7, 8, " ")]
    assert faults(spans, 10) == [
        "[6, 6, 'x'] is empty", "[7, 8, ' '] has no type", "[8, 12, 'x'] is outside the text, which has 10 characters",
        "[0, 3, 'x'] and [2, 5, 'y'] overlap",
    ]  # fmt: skip
    assert faults(PEOPLE, len(TEXT)) == []


@pytest.mark.parametrize(
    ("before", "after", "there"),
    [
        ("Ada Lovelace  wrote", "Ada Lovelace wrote", "Ada Lovelace"),
        ("<b>Ada Lovelace</b> wrote", "Ada Lovelace wrote", "Ada Lovelace"),
        ("Ada\u00a0 Lovelace wrote", "Ada Lovelace wrote", "Ada Lovelace"),
        ("see &amp; Ada Love\u200blace", "see & Ada Lovelace", "Ada Lovelace"),
        ("see Ada Love\u0301lace, then", "see Ada Lov\u00e9lace, then", "Ada Lov\u00e9lace"),  # composed within
        ("Ada Love\u0301lace\u0301", "Ada Lov\u00e9lac\u00e9", "Ada Lov\u00e9lac\u00e9"),  # and at its end
    ],
)
def test_a_span_is_carried_through_what_cleaning_does(before: str, after: str, there: str) -> None:
    start = before.index("Ada")
    end = re.compile(r"lace\u0301?").search(before, start).end()
    found = carried([Span(start, end, "person")], before, after)
    assert found is not None
    assert [after[span.start : span.end] for span in found] == [there]


@pytest.mark.parametrize(
    ("before", "after", "there"),
    [
        ("&quot;E\u0301mile Zola&quot; wrote", '"\u00c9mile Zola" wrote', "\u00c9mile Zola"),
        ("in Malmo\u0308&mdash;and", "in Malm\u00f6\u2014and", "Malm\u00f6"),
        ("(see&nbsp;A\u0308rzte&nbsp;&ndash; B)", "(see \u00c4rzte \u2013 B)", "\u00c4rzte"),
    ],
)
def test_signs_beside_a_span_that_became_others_are_no_part_of_it(before: str, after: str, there: str) -> None:
    own = unicodedata.normalize("NFD", there)
    start = before.index(own)
    found = carried([Span(start, start + len(own), "x")], before, after)
    assert found is not None
    assert [after[span.start : span.end] for span in found] == [there]


@pytest.mark.parametrize(
    ("before", "after"), [("see Ada now", "see now"), ("see Ada now", "see Adam now"), ("Ada", "")]
)
def test_a_span_whose_letters_have_changed_is_lost_rather_than_wrong(before: str, after: str) -> None:
    start = before.index("Ada")
    assert carried([Span(start, start + 3, "person")], before, after) in (None, (Span(4, 7, "person"),))
    if "Ada" not in after:
        assert carried([Span(start, start + 3, "person")], before, after) is None


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        ("x <a href='Rome'>Rome</a>", "x Rome", "Rome"),
        ("see A &amp; B Corp.", "see A & B Corp.", "A & B Corp"),
        ("see <b title='a > b'>AT&amp;T</b> now", "see AT&T now", "AT&T"),
    ],
)
def test_a_span_is_carried_out_of_markup_that_has_its_letters_too(before: str, after: str, name: str) -> None:
    written = name.replace("&", "&amp;")
    start = before.rindex(written)
    at = after.index(name)
    assert carried([Span(start, start + len(written), "x")], before, after) == (Span(at, at + len(name), "x"),)


def test_a_span_that_cleaning_wrote_in_other_characters_is_between_its_neighbours() -> None:
    before, after = "\uff21\uff44\uff41 wrote", "Ada wrote"  # full-width letters, by NFKC
    assert carried([Span(0, 3, "person")], before, after) == (Span(0, 3, "person"),)
    assert carried([Span(4, 6, "x")], "see ++ now", "see (-) now") is None


def test_no_span_is_carried_to_other_letters_whatever_is_taken_out() -> None:
    draw = random.Random(5)
    for _ in range(300):
        before = "".join(draw.choice("ab <>") for _ in range(30))
        start = draw.randrange(29)
        span = Span(start, draw.randrange(start + 1, 31), "x")
        after = "".join(character for character in before if draw.random() < 0.9)
        for moved in carried([span], before, after) or ():
            one, other = before[span.start : span.end], after[moved.start : moved.end]
            assert [c for c in one if c.isalnum()] == [c for c in other if c.isalnum()]


WORDS_OF_MARKUP = ["b", "i", "amp", "the", "of", "a", "cat", "dog", "Ada", "Lovelace", "wrote", "caf\u00e9", "x1"]


def test_spans_of_long_texts_are_carried_to_their_own_words_through_markup_and_blanks() -> None:
    draw, carried_right, spans = random.Random(11), 0, 0
    for _ in range(60):
        before, after, found, there = "", "", [], []
        for word in draw.choices(WORDS_OF_MARKUP, k=80):
            one, other = draw.choice([("", ""), ("<b>", "</b>"), ("  ", "\n"), ("&amp; ", "\u200b"), ("<i> ", " ")])
            before += one
            if draw.random() < 0.3:
                found.append(Span(len(before), len(before) + len(word), "x"))
                at = len(after) + 2 * (one == "&amp; ")
                there.append(Span(at, at + len(word), "x"))
            before += f"{word}{other} "
            after += f"{'& ' if one == '&amp; ' else ''}{word} "
        moved = carried(found, before, after)
        assert moved is not None
        carried_right += sum(one == other for one, other in zip(moved, there, strict=True))
        spans += len(found)
    assert carried_right == spans > 1000


def test_a_long_text_takes_no_time_with_the_square_of_its_length() -> None:
    draw = random.Random(2)
    words = ["".join(draw.choices("etaoinsh", k=draw.randint(1, 9))) for _ in range(15_000)]
    before, after = "  ".join(words), " ".join(words)
    start = len(before) - len(words[-1])
    begun = time.process_time()
    assert carried([Span(start, len(before), "x")], before, after) == (
        Span(len(after) - len(words[-1]), len(after), "x"),
    )
    assert time.process_time() - begun < 10  # comparing all characters takes minutes


RULE = "=====  "


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        ("Ada " + RULE * 2000 + "wrote", "Ada " + "===== " * 2000 + "wrote", "wrote"),
        ("Ada  met " + "-  " * 6000, "Ada met " + "- " * 6000, "Ada"),
        ("x  " + "a -  " * 4000 + "Ada", "x " + "a - " * 4000 + "Ada", "Ada"),
        (unicodedata.normalize("NFD", "한국어 문장 은  길다 " * 900), "한국어 문장 은 길다 " * 900, "한국어"),
        (unicodedata.normalize("NFD", "é a  " * 4000), "é a " * 4000, "é"),
    ],
    ids=["rules", "dashes", "repeated words", "jamo", "accents"],
)
def test_characters_and_words_that_come_again_and_again_take_no_time(before: str, after: str, name: str) -> None:
    written = unicodedata.normalize("NFD", name)
    start, begun = before.index(written), time.process_time()
    found = carried([Span(start, start + len(written), "x")], before, after)
    assert time.process_time() - begun < 5  # to match each with each takes minutes, and of 20,000 hours
    assert found == (Span(after.index(name), after.index(name) + len(name), "x"),)


def nested(layers: int, blanks: str) -> str:
    """Symbols of which the next one is single only left of the one before, as many layers deep."""
    text = "-" * 400 + chr(0xE000 + layers)
    for number in range(layers - 1, -1, -1):
        text += f"{chr(0xE000 + number)}{blanks}{chr(0xE000 + number + 1)}"
    return text


def test_texts_between_texts_end_the_work_and_not_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = f"Ada  {nested(3000, '  ')}", f"Ada {nested(3000, ' ')}"
    assert carried([Span(0, 3, "x")], before, after) == (Span(0, 3, "x"),)
    monkeypatch.setattr(carrying, "DEEPEST", 1_000_000)
    carrying._places.cache_clear()
    with pytest.raises(RecursionError):  # without an end to it
        carried([Span(0, 3, "x")], before, after)


def test_a_text_without_spans_is_not_looked_at() -> None:
    assert carried([], "a" * 10_000, "b") == ()
