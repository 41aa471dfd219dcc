"""The page to label on in a real browser, opened as a file, without a network: keys, and the csv that it gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import page_fixtures
import pytest
from labelling_fixtures import rows_of

from flows.labelling.listed import Listed
from flows.labelling.lists import of_proposals, page_of, write_list
from flows.labelling.proposing import Proposal
from stages.tasks.multilabel_classification.labelling import LABELLING as OF_SETS
from stages.tasks.regression.labelling import LABELLING as OF_NUMBERS
from stages.tasks.shared.labelling import TaskLabelling
from stages.tasks.text_classification.labelling import LABELLING as OF_LABELS

browser = page_fixtures.browser
ATTACK = "</script><script>document.title = 'pwned'</script><img src=x onerror=\"document.title='pwned'\">"
TEXTS = ('first, "quoted"\nand more', ATTACK, "=formula", "last")
LABELS = ("kitchen", "sea", "<b>shore")
Open = Callable[..., Any]


def proposals(suggestion: str | None = "sea", likeliest: Sequence[str] = LABELS) -> list[Proposal]:
    return [
        Proposal(Listed(f"id{at}", text, suggestion=suggestion), 0.75, 0.5, likeliest) for at, text in enumerate(TEXTS)
    ]


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Opens the page of some rows; at the end, it must have asked for nothing, and have said nothing."""
    opened: list[tuple[Any, list[str], list[str]]] = []

    def open_(rows: Sequence[Proposal], labels: Sequence[str], labelling: TaskLabelling, **settings: Any) -> Any:
        file = tmp_path / "a.html"
        file.write_text(page_of(rows, labels, labelling, "a.csv"), encoding="utf-8")
        context = browser.new_context(viewport={"width": 900, "height": 900}, **settings)
        page, asked, said = context.new_page(), [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        opened.append((context, asked, said))
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached", timeout=30_000)
        return page

    yield open_
    for context, asked, said in opened:
        context.close()
        assert [one for one in asked if not one.startswith(("file:", "data:", "blob:"))] == []
        assert said == []


def downloaded(page: Any, folder: Path) -> list[dict[str, str]]:
    with page.expect_download() as waiting:
        page.keyboard.press("d")
    assert waiting.value.suggested_filename == "a.csv"
    waiting.value.save_as(folder / "got.csv")
    return rows_of(folder / "got.csv")


def test_keys_label_and_the_csv_is_that_of_the_table_with_labels(open_page: Open, tmp_path: Path) -> None:
    rows = proposals()
    page = open_page(rows, LABELS, OF_LABELS)
    assert page.inner_text("#texts p") == TEXTS[0]
    assert page.inner_text("#suggestion") == "The model suggests sea (75.0%)."
    page.keyboard.press("1")
    assert page.inner_text("#texts p") == ATTACK
    assert page.title() == "Winnow: 4 rows to label"
    page.keyboard.press("Enter")  # the suggestion
    page.keyboard.press("3")
    assert page.inner_text("#progress") == "Row 4 of 4; 3 labelled."
    found = downloaded(page, tmp_path)
    write_list(str(tmp_path / "table.csv"), of_proposals(rows))
    table = rows_of(tmp_path / "table.csv")
    assert [row["label"] for row in found] == ["kitchen", "sea", "<b>shore", ""]
    assert [{**row, "label": ""} for row in found] == table


def test_one_goes_back_takes_a_label_away_and_finds_any_in_the_box(open_page: Open, tmp_path: Path) -> None:
    many = [f"topic {at}" for at in range(30)]
    page = open_page(proposals("topic 7", ["topic 7", "topic 3"]), many, OF_LABELS)
    assert page.locator("#choices button").all_inner_texts() == ["1 topic 7", "2 topic 3"]
    page.keyboard.press("2")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#choices button[aria-pressed=true]").inner_text() == "2 topic 3"
    page.keyboard.press("Backspace")
    assert page.locator("#choices button[aria-pressed=true]").count() == 0
    page.keyboard.press("/")
    page.keyboard.type("topic 2")
    page.keyboard.press("Enter")  # exactly one is called so
    page.keyboard.press("/")
    page.keyboard.type("opic 1")
    page.keyboard.press("Enter")
    assert page.inner_text("#wrong") == "11 labels have that in them."
    page.keyboard.press("Escape")
    assert [row["label"] for row in downloaded(page, tmp_path)] == ["topic 2", "", "", ""]


def test_several_labels_are_put_on_and_off_and_none_is_a_set_too(open_page: Open, tmp_path: Path) -> None:
    page = open_page(proposals('["sea"]'), LABELS, OF_SETS)
    for key in ("1", "2", "3", "2", "Enter", "Enter", "ArrowRight"):
        page.keyboard.press(key)
    labels = [row["label"] for row in downloaded(page, tmp_path)]
    assert [json.loads(label) if label else None for label in labels] == [["<b>shore", "kitchen"], [], None, None]


def test_numbers_are_typed_and_what_is_none_is_told(open_page: Open, tmp_path: Path) -> None:
    page = open_page(proposals("3.5", ()), (), OF_NUMBERS)
    page.keyboard.type("4.5")
    page.keyboard.press("Enter")
    page.keyboard.type("four")
    page.keyboard.press("Enter")
    assert page.inner_text("#wrong") == "four is no number, such as 3.5."
    page.get_by_label("Number").fill("-2")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert [row["label"] for row in downloaded(page, tmp_path)] == ["4.5", "-2", "", ""]


def test_what_was_labelled_is_there_when_the_page_is_opened_again(open_page: Open) -> None:
    page = open_page(proposals(), LABELS, OF_LABELS)
    page.keyboard.press("2")
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached", timeout=30_000)
    assert page.inner_text("#progress") == "Row 2 of 4; 1 labelled."


def test_dark_colours_are_those_of_the_reader(open_page: Open) -> None:
    page = open_page(proposals(), LABELS, OF_LABELS, color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 29)"
