"""The beginnings of test texts that a model is asked to write on."""

from __future__ import annotations

import pytest

from stages.measures.continuations import MOST_WORDS, beginning


@pytest.mark.parametrize(
    ("text", "most", "begins"),
    [
        ("Return it.\n\n    a : int\n    b : int", 100, "Return it.\n\n    a :"),
        ("Return it.\n\n    a : int\n    b : int", 10, "Return it."),
        ("ÄÖÜ ß ä ö", 6, "ÄÖÜ"),
        ("Extraordinarily long words are here", 4, "Extr"),
        ("天气很好天气很好\n今天\n明天\n后天", 7, "天气"),
        ("Three words alone", 100, ""),
        ("word " * 200, 1_000, " ".join(["word"] * MOST_WORDS)),
    ],
)
def test_a_beginning_is_the_first_half_as_it_stands_there_and_leaves_room(text: str, most: int, begins: str) -> None:
    assert beginning(text, most) == begins
