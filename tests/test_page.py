"""The review page in a real browser, opened as a file, with no network."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import page_fixtures
import pytest
from review_fixtures import (
    HOSTILE,
    confusion,
    empty_review,
    entity_flip,
    entity_review,
    example_review,
    label_names,
    recorded,
    written_flip,
    written_review,
)

from flows.review.evidence import (
    Decision,
    Flip,
    MetricChange,
    ModelView,
    ParamChange,
    Review,
    StageChange,
    without_texts,
)
from flows.review.page.charts import charts_of
from flows.review.page.page import render
from flows.review.page.tables import FLIPS_SHOWN

browser = page_fixtures.browser
METRICS, OTHERS, FLIPS, PARTS = "#t-metrics", "#t-others", "#t-flips", "#t-by-part"
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(example_review(), tmp_path_factory.mktemp("page"))


def write(review: Review, folder: Path) -> Path:
    path = folder / "review.html"
    path.write_text(render(review), encoding="utf-8")
    return path


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Opens a page; at the end, it must have asked for nothing but itself, and have said nothing to the console."""
    opened: list[tuple[Any, list[str], list[str]]] = []

    def open_(path: Path, *, ready: bool = True, **settings: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        context.route("**/*", lambda route: route.continue_() if route.request.url == path.as_uri() else route.abort())
        page, requests, said = context.new_page(), [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(str(error)))
        opened.append((context, requests, said))
        page.goto(path.as_uri())
        if ready:
            page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
        requests[:] = [url for url in requests if url != path.as_uri()]
        return page

    yield open_
    for context, requests, said in opened:
        context.close()
        assert requests == []
        assert said == []


def column(page: Any, table: str, index: int) -> list[str]:
    """The texts of a column, of the rows that are shown."""
    rows = page.locator(f"{table} tbody tr:not([hidden])")
    return rows.evaluate_all("(rows, i) => rows.map(row => row.cells[i].innerText.trim())", index)


def test_every_chart_is_drawn_with_marks(open_page: Open, example: Path) -> None:
    page = open_page(example)
    shown = page.locator(".chart:visible")
    assert shown.count() == 7  # scatter, the matrix, two of calibration, three curves
    for i in range(shown.count()):
        assert shown.nth(i).locator("svg .mark-symbol path, svg .mark-rect path, svg .mark-line path").count() > 1


def test_matrices_of_another_model_are_drawn_when_it_is_chosen(open_page: Open, example: Path) -> None:
    page = open_page(example)
    assert page.locator(".panel:visible h3").all_inner_texts() == ["quantized"]
    page.select_option("#panel-select", label="teacher")
    page.wait_for_function("document.querySelectorAll('.panel:not([hidden]) svg .mark-rect path').length > 32")
    assert page.locator(".panel:visible h3").all_inner_texts() == ["teacher"]


def test_a_click_on_a_heading_sorts_by_number_and_another_turns_it_round(open_page: Open, example: Path) -> None:
    page = open_page(example)
    heading = page.locator("#t-models thead th", has_text="Size")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column(page, "#t-models", 0) == ["baseline", "quantized", "student", "teacher"]
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert column(page, "#t-models", 0) == ["teacher", "student", "quantized", "baseline"]


def test_the_keyboard_sorts_too(open_page: Open, example: Path) -> None:
    page = open_page(example)
    page.locator("#t-models thead th button").nth(0).focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator("#t-models thead th").nth(1).get_attribute("aria-sort") == "ascending"
    assert column(page, "#t-models", 0) == ["baseline", "quantized", "student", "teacher"]


def test_what_is_not_known_is_sorted_last_in_both_directions(open_page: Open, example: Path) -> None:
    page = open_page(example)
    button = page.locator(OTHERS).get_by_role("button", name="Before")
    for _ in range(2):
        button.click()
        assert column(page, OTHERS, 2)[-1] == "–"


def test_filters_show_the_rows_of_a_model_and_of_a_kind(open_page: Open, example: Path) -> None:
    page = open_page(example)
    assert set(column(page, METRICS, 0)) == {"quantized"}
    page.select_option("[data-filters~=t-metrics] select", label="student")
    assert set(column(page, METRICS, 0)) == set(column(page, OTHERS, 0)) == {"student"}
    assert page.locator("[data-filters~=t-metrics] output").inner_text() == "9 of 36 rows"
    page.select_option("[data-filters=t-flips] [data-filter=model]", value="")
    assert len(column(page, FLIPS, 0)) == 60
    page.select_option("[data-filters=t-flips] [data-filter=kind]", label="better")
    assert set(column(page, FLIPS, 0)) == {"✓ better"}
    assert page.locator("[data-filters=t-flips] output").inner_text() == "20 of 60 rows"


def test_rows_that_got_worse_come_first(open_page: Open, example: Path) -> None:
    kinds = column(open_page(example), FLIPS, 0)
    assert kinds == sorted(kinds, key=["✗ worse", "✓ better", "≈ other"].index)


def colours(page: Any) -> tuple[str, str]:
    """Of the page behind, and of the letters in the first chart."""
    behind = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    return behind, page.locator(".chart svg text").first.evaluate("text => getComputedStyle(text).fill")


def test_dark_colours_follow_the_system_and_the_button(open_page: Open, example: Path) -> None:
    light = open_page(example, color_scheme="light")
    dark = open_page(example, color_scheme="dark")
    assert colours(light) != colours(dark)
    assert all(a != b for a, b in zip(colours(light), colours(dark), strict=True))
    light.get_by_role("button", name="Dark colours").press("Enter")
    assert colours(light) == colours(dark)
    assert light.get_by_role("button", name="Light colours").is_visible()


def test_a_phone_scrolls_tables_but_not_the_page(open_page: Open, example: Path) -> None:
    page = open_page(example, viewport={"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator(f".scroll[tabindex='0']:has({METRICS})").count() == 1


def test_texts_that_attack_the_page_are_shown_and_never_run(open_page: Open, tmp_path: Path) -> None:
    attack = HOSTILE[0] + HOSTILE[1]
    names = (attack, '"><b>', "a & b")
    review = example_review()
    views = tuple(dataclasses.replace(view, confusion=confusion(names, 0.6, 1)) for view in review.after)
    flips = (*review.flips, Flip("quantized", "x", attack, attack, attack, "\ud800 half a pair", 1.0, 0.0))
    review = dataclasses.replace(
        review, after=views, before=(), flips=flips, head_params=attack, candidate="quantized",
        base=dataclasses.replace(review.base, subject=attack, name=attack), notes=(attack,),
        curves={attack: [(attack, 0.0, 1.0), (attack, 1.0, float("nan"))]},
        params=(ParamChange(attack, attack, attack),), curves_before={attack: [(attack, 0.0, 2.0)]},
        parts=tuple(dataclasses.replace(part, by=attack, name=attack) for part in review.parts[:2]),
        history=(recorded("b2", 0.6, subject=attack, machine=attack, tags=(attack,)), recorded("a1", 0.5)),
    )  # fmt: skip
    page = open_page(write(review, tmp_path))
    assert page.evaluate("window.__pwned") is None
    assert page.locator("main img, main b, main script").count() == 0
    texts = column(page, FLIPS, 1)
    assert all(any(hostile.split("\u2028")[0] in text for text in texts) for hostile in HOSTILE)
    assert attack in page.locator(".notes").inner_text()


def test_the_page_forbids_itself_everything_but_its_two_scripts(example: Path) -> None:
    text = example.read_text(encoding="utf-8")
    policy = text.partition('Policy" content="')[2].partition('"')[0]
    policy = html.unescape(policy)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert policy.count("sha256-") == 2
    assert "unsafe-eval" not in policy


def test_a_review_of_nothing_says_so_in_every_section(open_page: Open, tmp_path: Path) -> None:
    page = open_page(write(empty_review(), tmp_path))
    assert "No verdict" in page.locator(".gate").inner_text()
    for section in page.locator("main > section").all():
        assert section.locator(".nothing").count() >= 1
    assert page.locator("table, svg").count() == 0


def test_files_of_an_odd_shape_are_passed_over(open_page: Open, tmp_path: Path) -> None:
    odd = ModelView(
        "quantized",
        {"slices": {"length": {"short": 3, "long": {}}}, "robustness": [], "fairness": {"groups": {"a": {"rows": 2}}},
         "worst_slice": None, "macro_f1": "high", "accuracy": float("nan")},
        {"latency_p50_ms": 0.0, "size_mb": True}, [], [{"confidence": 0.5, "score": 0.4, "rows": 3.0}],
    )  # fmt: skip
    endless = MetricChange("quantized", "log_loss", "nats", "lower", 1.0, 0.9, float("-inf"), float("inf"), 0.95)
    review = dataclasses.replace(
        empty_review(), after=(odd,), candidate="quantized", decision=Decision("inconclusive", ()), metrics=(endless,)
    )
    page = open_page(write(review, tmp_path))
    assert column(page, OTHERS, 5) == ["–"]
    assert page.locator("[data-chart=reliability] svg").count() == 1


@pytest.mark.parametrize(("outcome", "words"), [("pass", "Pass"), ("fail", "Fail"), ("inconclusive", "Inconclusive")])
def test_the_verdict_is_in_words_and_a_sign(open_page: Open, tmp_path: Path, outcome: Any, words: str) -> None:
    review = dataclasses.replace(empty_review(), decision=Decision(outcome, ()))
    badge = open_page(write(review, tmp_path)).locator(".badge")
    assert words in badge.inner_text()
    assert badge.locator(".sign").inner_text() in "✓✗?"


@pytest.mark.parametrize("labels", [2, 77])
def test_of_the_matrix_of_few_and_of_many_labels_only_cells_that_differ_are_drawn(
    open_page: Open, tmp_path: Path, labels: int
) -> None:
    page = open_page(write(example_review(labels), tmp_path))
    assert page.locator(".panel:visible .chart").count() == 1
    before, after = (dict(shares(confusion(label_names(labels), *of))) for of in ((0.557, 3), (0.563, 12)))
    changed = {pair for pair in before.keys() | after.keys() if before.get(pair, 0) != after.get(pair, 0)}
    assert page.locator(".panel:visible .chart svg g.mark-rect > path").count() == len(changed)


def shares(rows: list[tuple[str, str, int]]) -> Iterator[tuple[tuple[str, str], float]]:
    """(label, answer) -> the share of the label's rows that got it."""
    for actual, guess, count in rows:
        yield (actual, guess), count / sum(other for name, _, other in rows if name == actual)


def test_what_has_predictions_on_one_side_or_cannot_be_compared_is_drawn_as_it_is(tmp_path: Path) -> None:
    review = example_review(3)
    only_after = dataclasses.replace(review, before=())
    apart = MetricChange(
        "quantized", "macro_f1", "share", "higher", 0.5, 0.9, withheld="not comparable", why="other rows"
    )
    for found, told in (
        (only_after, "the only side with predictions"),
        (dataclasses.replace(review, metrics=(apart,)), "which cannot be compared with those before"),
    ):
        chart = dict(charts_of(found))["confusion-3"]
        assert {cell["share"] > 0 for cell in chart["datasets"]["cells"]} == {True}
        assert told in render(found)


def test_what_was_not_run_is_said_first_and_red_with_its_stages(open_page: Open, tmp_path: Path) -> None:
    unrun = (StageChange("distill", ("distill.temperature: 3.0 -> 4.0",)), StageChange("quantize", ("after distill",)))
    review = dataclasses.replace(
        example_review(), decision=None, not_run=unrun, not_run_models=frozenset({"quantized"})
    )
    page = open_page(write(review, tmp_path))
    gate = page.locator("main > section").first
    assert gate.locator("h2").inner_text().split() == ["✗", "Not", "run"]
    red = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--bad').trim()")
    tone = "section => getComputedStyle(section).getPropertyValue('--tone').trim()"
    assert gate.evaluate(tone) == red
    assert "no figures of this change for quantized" in gate.inner_text()
    assert "distill.temperature: 3.0 → 4.0" in gate.locator(".unrun").inner_text()
    assert "Nothing was judged" not in gate.inner_text()


def test_a_search_leaves_the_rows_that_hold_every_word(open_page: Open, example: Path) -> None:
    page = open_page(example)
    box = page.get_by_role("searchbox", name="Search the texts and answers")
    box.fill("cookies SESSION")
    found = column(page, FLIPS, 1)
    assert found
    assert all(text.startswith("Open a session that keeps cookies") for text in found)
    page.select_option("[data-filters=t-flips] [data-filter=kind]", label="better")
    assert 0 < len(column(page, FLIPS, 1)) < len(found)
    box.fill("no row has this")
    assert column(page, FLIPS, 1) == []
    assert page.locator("[data-filters=t-flips] output").inner_text() == "0 of 60 rows"


def test_flipped_rows_say_how_sure_the_model_was_and_is(open_page: Open, example: Path) -> None:
    page = open_page(example)
    page.locator(f"{FLIPS} thead th", has_text="Confidence").get_by_role("button").click()
    confidences = column(page, FLIPS, 5)
    assert confidences == sorted(confidences, key=lambda text: float(text.partition("%")[0]))
    assert confidences[0].split() == ["40.0%", "was", "35.0%"]


def test_labels_that_lost_most_come_first_and_are_worse_only_where_that_is_sure(open_page: Open, example: Path) -> None:
    page = open_page(example)
    verdicts = column(page, PARTS, 9)
    assert verdicts[:2] == ["✗ worse", "✓ better"]
    assert set(verdicts[2:]) == {"≈ no clear change"}
    first = page.locator(f"{PARTS} tbody tr").first.locator("td").all_inner_texts()
    assert first[:9] == ["label", "aiohttp", "45", "1", "19", "50.0%", "10.0%", "−40.0", "−50.0 to −30.0"]


def test_parts_are_found_by_kind_and_by_a_search_from_the_keyboard(open_page: Open, example: Path) -> None:
    page = open_page(example)
    page.select_option("[data-filters=t-by-part] [data-filter=by]", label="length")
    assert column(page, PARTS, 1) == ["short"]
    page.select_option("[data-filters=t-by-part] [data-filter=by]", value="")
    page.get_by_role("searchbox", name="Search the parts").focus()
    page.keyboard.type("torch")
    assert column(page, PARTS, 1) == ["torch"]
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    assert len(column(page, PARTS, 1)) == 33


def test_the_heading_names_what_is_compared_and_the_parameters_that_changed(open_page: Open, tmp_path: Path) -> None:
    review = example_review()
    several = tuple(ParamChange(f"distill.value_{i}", i, i + 1) for i in range(8))
    base = dataclasses.replace(review.base, name="4f1c2a9", place="where it left main")
    page = open_page(write(dataclasses.replace(review, params=several, base=base), tmp_path))
    assert page.locator("h1").inner_text() == "softer-targets against 4f1c2a9"
    assert page.locator(".sides div").first.inner_text().split("\n")[1].startswith("4f1c2a9 where it left main")
    assert page.locator(".changed li").all_inner_texts()[0] == "distill.value_0 0 → 1"
    assert page.locator(".changed li").all_inner_texts()[6:] == ["and 2 more"]
    page.get_by_role("link", name="and 2 more").press("Enter")
    assert page.evaluate("location.hash") == "#changes"


def test_the_bases_curves_are_dashed_beside_this_ones(open_page: Open, tmp_path: Path) -> None:
    review = example_review()
    before = {
        "train/loss": [("student", step, 4 - step) for step in (0.0, 1.0, 2.0)],
        "train/old": [("student", 0.0, 1.0)],
    }
    page = open_page(write(dataclasses.replace(review, curves_before=before, same_data=False), tmp_path))
    section = page.locator("section:has(#curves)")
    told = "Solid: this change; dashed: main (4f1c2a9), where student learned otherwise. It learned from other data"
    assert told in section.inner_text()
    titles = section.locator("h3").all_inner_texts()
    assert titles == ["train/loss", "validation/macro_f1", "train/learning_rate", "train/old"]
    dashes = "paths => paths.map(path => path.getAttribute('stroke-dasharray') || '').sort()"
    lines = section.locator(".chart").first.locator("svg g.mark-line path")
    assert [dash.replace(" ", "") for dash in lines.evaluate_all(dashes)] == ["1,0", "1,0", "5,4"]


def test_the_history_joins_what_one_test_or_one_machine_gave_and_nothing_else(open_page: Open, tmp_path: Path) -> None:
    entries = (
        recorded("e5", 0.9, machine="", data=""),
        recorded("d4", 0.8, machine="2 threads of two", p50_ms=1.0, low=0.7, high=0.9),
        recorded("c3", 0.7, machine="2 threads of two", p50_ms=1.2, data="b" * 32),
        recorded("b2", 0.6, p50_ms=1.5),
        recorded("a1", 0.5, tags=("model@v1.0.0",)),
    )
    page = open_page(write(dataclasses.replace(example_review(), history=entries), tmp_path))
    section = page.locator("section:has(#history)")
    assert section.locator("h3").all_inner_texts() == ["Macro-F1", "Latency p50, ms", "Size, MB"]
    lines = [
        section.locator(".chart").nth(i).locator("svg g.mark-line path").evaluate_all(
            "paths => paths.map(path => path.getAttribute('d').split(/[ML]/).length - 1)"
        )
        for i in range(3)
    ]  # fmt: skip
    assert [sorted(points) for points in lines] == [[1, 3], [2, 2], [5]]
    assert section.locator(".chart").nth(1).locator("svg g.mark-symbol path").count() >= 5
    table = section.locator("#t-history tbody tr")
    assert table.first.locator("th code").inner_text() == "e5"
    assert [row.locator("td").nth(2).inner_text() for row in table.all()] == ["–", "A", "B", "A", "A"]
    assert table.nth(3).locator("td").nth(4).inner_text() == "+10.0 points"
    assert table.nth(2).locator("td").nth(4).inner_text() == "another test"
    assert table.nth(2).locator("td").nth(7).inner_text() == "another machine"
    assert "Machines: A: 2 threads of one; B: 2 threads of two." in section.inner_text()


def test_a_verdict_that_is_withheld_says_why(open_page: Open, tmp_path: Path) -> None:
    noisy = MetricChange(
        "quantized",
        "latency_p50_ms",
        "ms",
        "lower",
        0.9,
        2.1,
        -9,
        9,
        withheld="too noisy to tell",
        why="p99 is 700 times p50",
    )
    page = open_page(write(dataclasses.replace(example_review(), metrics=(noisy,)), tmp_path))
    assert column(page, OTHERS, 6)[0].split("\n") == ["? too noisy to tell", "p99 is 700 times p50"]


def test_there_is_one_kind_of_arrow(example: Path) -> None:
    text = example.read_text(encoding="utf-8").partition('<script type="application/json"')[0]
    assert "-&gt;" not in text
    assert "distill.temperature: 3.0 → 4.0" in text


def test_shares_are_of_the_rows_of_a_label_and_numbers_are_in_their_unit(open_page: Open, example: Path) -> None:
    page = open_page(example)
    accuracy = page.locator(f"{METRICS} tbody tr:visible").first.locator("td, th").all_inner_texts()
    assert accuracy[2:6] == ["56.1%", "56.7%", "+0.6", "−0.6 to +1.8"]
    assert accuracy[6].split() == ["≈", "no", "clear", "change"]
    assert "1.67 ms" in column(page, OTHERS, 2)
    assert "−18.0" in column(page, OTHERS, 4)  # of times and sizes in percent of before
    headings = [page.locator(f"{table} thead th").nth(4).inner_text() for table in (METRICS, OTHERS)]
    assert headings == ["Difference, points", "Change, %"]


def test_no_more_than_the_first_rows_are_in_the_page_and_the_candidates_stay(open_page: Open, tmp_path: Path) -> None:
    page = open_page(write(example_review(flipped=700), tmp_path))
    assert page.locator(f"{FLIPS} tbody tr").count() == FLIPS_SHOWN
    assert f"{FLIPS_SHOWN} of 700 rows" in page.locator("section:has(#flips)").inner_text()
    assert set(column(page, FLIPS, 6)) == {"quantized"}
    assert len(column(page, FLIPS, 6)) == FLIPS_SHOWN


def test_everything_that_can_be_used_is_reached_by_tab_and_shows_its_focus(open_page: Open, example: Path) -> None:
    page = open_page(example, reduced_motion="reduce")
    usable = page.locator("a, button, select, input, summary, [tabindex='0']").locator("visible=true")
    reached = []
    for _ in range(usable.count()):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(
            "() => { const e = document.activeElement; e.dataset.reached = ''; const s = getComputedStyle(e);"
            " return [e.tagName, s.outlineStyle, parseFloat(s.outlineWidth)]; }"
        ))  # fmt: skip
    assert reached[0][0] == "A"  # past the header, to the review
    assert [entry for entry in reached if entry[1] == "none" or entry[2] < 2] == []
    assert usable.and_(page.locator(":not([data-reached])")).count() == 0


def test_headings_are_in_order_and_tables_have_captions(open_page: Open, example: Path) -> None:
    page = open_page(example)
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(h => Number(h.tagName[1]))")
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip([0, *levels], levels, strict=False))
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.evaluate(
        "[...document.querySelectorAll('[id]')].map(e => e.id).every((id, i, all) => all.indexOf(id) === i)"
    )


def test_without_javascript_tables_and_texts_are_there_and_charts_say_why_not(open_page: Open, example: Path) -> None:
    page = open_page(example, ready=False, java_script_enabled=False)
    assert page.locator(f"{METRICS} tbody tr:visible, {OTHERS} tbody tr:visible").count() == 36
    assert page.locator(".panel:visible").count() == 4
    assert "JavaScript" in page.locator(".chart").first.inner_text()
    assert page.locator("#theme:visible, .filters:visible").count() == 0


ADA = "Ada Lovelace wrote to Babbage"
SEEN = entity_flip(
    ADA,
    [(0, 12, "person"), (22, 29, "person")],
    [(0, 3, "person"), (22, 29, "place")],
    [(0, 12, "person"), (22, 29, "place")],
)


def marks(page: Any, line: int) -> list[list[str]]:
    """Of each mark in a line of the first row: its text with its signs, and its class."""
    found = page.locator(f"{FLIPS} tbody tr").first.locator("dl > div").nth(line).locator("mark")
    return found.evaluate_all("marks => marks.map(m => [m.firstChild === m.lastChild.previousSibling ? '' :"
                              " m.firstChild.textContent, m.lastChild.previousSibling.textContent,"
                              " m.lastChild.textContent])")  # fmt: skip


def test_entities_are_marked_in_the_truth_and_in_both_answers_with_what_turned(open_page: Open, tmp_path: Path) -> None:
    page = open_page(write(entity_review(SEEN), tmp_path))
    assert marks(page, 0) == [["", "Ada Lovelace", "person"], ["", "Babbage", "person"]]
    assert marks(page, 1) == [["−", "Ada", "person ✗"], ["", "Babbage", "place ✗"]]
    assert marks(page, 2) == [["+", "Ada Lovelace", "person"], ["", "Babbage", "place ✗"]]
    assert page.locator(f"{FLIPS} thead th").all_inner_texts()[1:3] == ["Text", "Confidence"]
    assert page.locator(".legend mark").all_inner_texts() == ["person", "place"]
    assert "[[0" not in page.locator("main").inner_text()


def test_written_texts_stand_side_by_side_with_the_words_that_turned(open_page: Open, tmp_path: Path) -> None:
    page = open_page(write(written_review(written_flip()), tmp_path))
    cells = page.locator(f"{FLIPS} tbody tr").first.locator("td")
    assert page.locator(f"{FLIPS} thead th").all_inner_texts()[1:5] == ["Text", "Truth", "Before", "After"]
    assert cells.nth(1).inner_text() == "Ein <b>Hund</b> läuft."
    assert [found.strip() for found in cells.nth(3).locator("mark").all_inner_texts()] == ["−runs", "−green"]
    assert cells.nth(4).locator("mark").all_inner_texts() == ["+walks"]
    assert "no longer written" in page.locator("main").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marks_can_be_read_in_every_colour_and_those_of_two_types_differ(
    open_page: Open, tmp_path: Path, scheme: str
) -> None:
    text = "abcdefg"
    spans = [(at, at + 1, f"type {name}") for at, name in enumerate(text)]
    page = open_page(write(entity_review(entity_flip(text, spans, spans[:3], spans)), tmp_path), color_scheme=scheme)
    found = page.locator(f"{FLIPS} mark").evaluate_all(
        """marks => {
          const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
          const luminance = (colour) => {
            context.fillStyle = colour; context.fillRect(0, 0, 1, 1);
            const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].slice(0, 3).map(c => c / 255)
              .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          return marks.map(mark => {
            const style = getComputedStyle(mark);
            const [low, high] = [style.color, style.backgroundColor].map(luminance).sort((a, b) => a - b);
            return [(high + 0.05) / (low + 0.05), style.borderBottomColor, style.outlineStyle];
          });
        }"""
    )
    assert len(found) == 7 + 3 + 7
    assert min(contrast for contrast, _, _ in found) >= 4.5
    assert len({colour for _, colour, _ in found}) == 6  # the seventh has the first one again
    assert [outline for _, _, outline in found[10:]] == ["none"] * 3 + ["solid"] * 4


def test_spans_of_hostile_texts_at_the_ends_over_another_and_outside_are_shown_and_never_run(
    open_page: Open, tmp_path: Path
) -> None:
    attack = HOSTILE[0] + HOSTILE[1]
    long = f"{'x' * 300} & {'y' * 300}{attack}"
    after = [
        (0, 4, attack),
        (2, len(attack), '"><b>'),
        (len(attack) - 1, len(attack), "z"),
        (900, 999, "far"),
        (7, 7, "no"),
    ]
    page = open_page(
        write(
            entity_review(
                entity_flip(attack, [], [(0, len(attack), "x")], after),
                entity_flip(long, [(0, 2, "x")], [], [(len(long) - 44, len(long), attack)], "row-1"),
            ),
            tmp_path,
        )
    )
    assert page.evaluate("window.__pwned") is None
    assert page.locator("main img, main mark b b, main script").count() == 0
    found = marks(page, 2)
    assert "".join(text for _, text, _ in found) == attack
    assert [kind.removesuffix(" ✗") for _, _, kind in found] == [attack, f'{attack}, "><b>', '"><b>', '"><b>, z']
    assert "not shown: no 7 to 7; far 900 to 999" in page.locator(f"{FLIPS} tbody tr").first.inner_text()
    second = page.locator(f"{FLIPS} tbody tr").nth(1).locator("dd")
    assert second.nth(2).locator("mark").inner_text().startswith(f"+{long[-44:]}"[:20])
    assert second.nth(0).inner_text().startswith("…")
    assert 'not shown: x: "xx"' in second.nth(0).inner_text()


def test_rows_without_their_text_have_their_id_and_the_places_of_their_spans(open_page: Open, tmp_path: Path) -> None:
    page = open_page(write(without_texts(entity_review(SEEN)), tmp_path))
    row = page.locator(f"{FLIPS} tbody tr").first
    assert row.locator("dd").all_inner_texts() == [
        "row-0", "not shown: person 0 to 12; person 22 to 29", "not shown: person 0 to 3; place 22 to 29",
        "not shown: person 0 to 12; place 22 to 29",
    ]  # fmt: skip
    assert row.locator("mark").count() == 0


def test_a_page_of_entities_is_no_wider_than_a_phone_and_is_searched_by_text_and_type(
    open_page: Open, tmp_path: Path
) -> None:
    other = entity_flip("nobody", [], [], [(0, 6, "person")], "row-1")
    page = open_page(write(entity_review(SEEN, other), tmp_path), viewport={"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("searchbox", name="Search the texts and answers").fill("place lovelace")
    assert page.locator(f"{FLIPS} tbody tr:visible").count() == 1
