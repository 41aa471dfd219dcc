"""The page of `winnow app` in a real browser: a text is typed, and what the model says of it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import app_fixtures
import page_fixtures
import pytest

from flows.app import server
from flows.app.ending import Ending
from flows.app.limits import PAIRS, TEXTS, Limits
from flows.app.served import Served
from stages.core.contracts import Generation, UnwritableError

browser = page_fixtures.browser
LIMITS = Limits(rows=8, characters=200, bytes=100_000, waiting=100, seconds=10)
Open = Callable[..., Any]


@contextmanager
def serving(answer: Callable[[Any], dict[str, Any]], *takes: str) -> Iterator[str]:
    """The address of a server of a model that says this of each text."""
    served = Served("toy", "0123456789ab" + "0" * 52, "toy", "toy model", frozenset(takes or {TEXTS}),
                    lambda texts: [answer(text) for text in texts])  # fmt: skip
    with app_fixtures.in_thread(served, LIMITS, Ending()) as opened:
        yield server.url_of(opened)


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Opens a page; at the end, it must have asked for nothing but its server, and have said nothing."""
    opened: list[tuple[Any, str, list[str], list[str]]] = []

    def open_(url: str, **settings: Any) -> Any:
        context = browser.new_context(viewport={"width": 900, "height": 900}, **settings)
        page, asked, said = context.new_page(), [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        opened.append((context, url, asked, said))
        page.goto(url)
        page.wait_for_selector("html[data-ready]", state="attached", timeout=30_000)
        return page

    yield open_
    for context, url, asked, said in opened:
        context.close()
        assert [one for one in asked if not one.startswith((url, "data:"))] == []
        assert [one for one in said if "422" not in one] == []


def typed(page: Any, text: str, second: str | None = None) -> str:
    """What the page shows, a while after a text is typed."""
    if second is not None:
        page.get_by_label("Second text").fill(second)
    page.get_by_label("Text", exact=True).fill(text)
    page.wait_for_selector("#answer > *:not(.old)", timeout=10_000)
    page.wait_for_selector('#answer:not([class]) > *, #answer[class=""] > *')
    return str(page.inner_text("#answer"))


def of_topic(text: str) -> dict[str, Any]:
    sea = 0.75 if "ship" in text else 0.25
    others = {f"topic {number}": 0.0 for number in range(6)}
    return {"label": "sea" if sea > 0.5 else "kitchen", "probability": max(sea, 1 - sea),
            "probabilities": {"kitchen": 1 - sea, "sea": sea, **others}}  # fmt: skip


def test_an_answer_comes_as_one_types_with_its_probability_and_the_likeliest_labels(open_page: Open) -> None:
    with serving(of_topic) as url:
        page = open_page(url)
        assert page.inner_text("h1") == "toy"
        assert page.inner_text("#about") == "Toy model"
        assert page.inner_text("#manifest").strip() == "· Manifest 0123456789ab"
        assert not page.locator("#labels").is_visible()
        assert not page.get_by_label("Second text").is_visible()
        typed(page, "the ship")
        assert page.inner_text("#answer .head") == "sea  75.0%"
        assert page.locator("#answer dt:visible").all_inner_texts()[:2] == ["sea", "kitchen"]
        assert page.locator("#answer dt:visible").count() == 5
        page.get_by_text("3 more").click()
        assert page.locator("#answer dt:visible").count() == 8


def test_the_page_has_the_name_of_the_project_and_the_labels_where_they_are_few(open_page: Open) -> None:
    served = Served(
        "quantized", "0" * 64, "toy", "toy model", frozenset({TEXTS}), lambda texts: list(map(of_topic, texts))
    )
    for labels, shown in ((("sea", "<b>"), "sea, <b>"), (tuple(map(str, range(31))), None)):
        own = replace(served, project="tickets", labels=labels)
        with app_fixtures.in_thread(own, LIMITS, Ending()) as opened:
            page = open_page(server.url_of(opened))
            assert (page.inner_text("h1"), page.title()) == ("tickets", "tickets · Winnow")
            assert page.inner_text("#about") == f"Toy model · quantized · {len(labels)} labels"
            found = page.locator("#labels")
            assert (found.inner_text() if found.is_visible() else None) == shown


def test_the_keyboard_alone_asks(open_page: Open) -> None:
    with serving(of_topic) as url:
        page = open_page(url)
        assert page.evaluate("document.activeElement.id") == "text"
        page.keyboard.type("a ship")
        page.keyboard.press("Control+Enter")
        page.wait_for_selector("#answer .head", timeout=5000)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Ask"


def test_places_are_marked_in_the_text_where_characters_are_long(open_page: Open) -> None:
    def found(text: str) -> dict[str, Any]:
        start = text.index("Ada")
        ada = {"start": start, "end": start + 3, "type": "person", "text": "Ada", "probability": 0.5}
        return {"spans": [ada, {"start": None, "end": None, "type": "place", "text": "Rome", "probability": 0.25}]}

    with serving(found) as url:
        page = open_page(url)
        shown = typed(page, "😀😀 by Ada & <b>\nyesterday")
        assert page.locator("mark").all_inner_texts() == ["Adaperson"]
        assert page.inner_text(".passage") == "😀😀 by Adaperson & <b>\nyesterday"
        assert "place: Rome" in shown


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        ({"number": 3.25}, "Number 3.25"),
        ({"labels": [{"label": "a", "probability": 0.9}, {"label": "b", "probability": 0.6}],
          "probabilities": {"a": 0.9, "b": 0.6, "c": 0.1}}, "a, b"),
        ({"labels": [], "probabilities": {"a": 0.1}}, "No labels"),
        ({"vector": [0.5, -0.25]}, "0.5, -0.25"),
        ({"text": "Written anew."}, "Written anew."),
        ({"answers": [{"start": 0, "end": 2, "text": "an", "probability": 0.5}], "nothing": 0.125}, "an\n50.0%"),
    ],
)  # fmt: skip
def test_every_kind_of_record_is_shown(open_page: Open, record: dict[str, Any], shown: str) -> None:
    with serving(lambda _: record) as url:
        assert shown in typed(open_page(url), "an example")


def test_a_second_text_is_asked_for_where_the_model_takes_pairs(open_page: Open) -> None:
    with serving(lambda pair: {"similarity": len(pair) / 4}, TEXTS, PAIRS) as url:
        page = open_page(url)
        assert "Similarity 0.5" in typed(page, "one", "two")
    with serving(lambda pair: {"label": "+".join(pair), "probability": 1.0}, PAIRS) as url:
        assert "one+two" in typed(open_page(url), "one", "two")


def test_a_refusal_is_told_in_words(open_page: Open) -> None:
    with serving(of_topic) as url:
        shown = typed(open_page(url), "a" * 201)
        assert shown == "A text is too long (texts[0]): 201 characters. Allowed: up to 200. Shorten or divide it."


def test_dark_colours_are_those_of_the_reader(open_page: Open) -> None:
    with serving(of_topic) as url:
        of = "getComputedStyle(document.body).backgroundColor"
        light, dark = (open_page(url, color_scheme=scheme).evaluate(of) for scheme in ("light", "dark"))
        assert (light, dark) == ("rgb(255, 255, 255)", "rgb(20, 24, 29)")


def test_the_page_of_the_api_is_opened_without_a_script(open_page: Open) -> None:
    with serving(of_topic) as url:
        page = open_page(url)
        page.get_by_text("The API").click()
        page.wait_for_selector("h2")
        assert page.locator("h2").first.inner_text() == "POST /predict"
        assert page.locator("script").count() == 0


def test_a_model_that_writes_is_asked_by_the_button_and_its_text_grows(open_page: Open) -> None:
    def pieces(text: str, how: Generation) -> Iterator[str]:
        if text == "bad":
            raise UnwritableError({0: "has 9 tokens."})
        return iter([" then <b>", f"é{how.max_new_tokens}", "\nand 🦊"])

    served = Served("toy", "0" * 64, "toy", "toy writer", frozenset({TEXTS}), list, Generation(7), pieces)
    with app_fixtures.in_thread(served, LIMITS, Ending()) as opened:
        page = open_page(server.url_of(opened))
        assert not page.get_by_text("as you type").is_visible()
        page.get_by_label("Text", exact=True).fill("first")
        assert page.inner_text("#answer") == ""
        page.get_by_role("button").click()
        page.locator("#answer", has_text="🦊").wait_for()
        assert page.inner_text("#answer") == " then <b>é7\nand 🦊"
        page.get_by_label("Text", exact=True).fill("bad")
        page.get_by_role("button").click()
        page.wait_for_selector("[role=alert]")
        assert "Nothing can be written for a text (text): it has 9 tokens" in page.inner_text("#answer")
