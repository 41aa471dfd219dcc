"""Demo pages in a real browser: they answer as the runner does, and ask nobody but the host that they lie on."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import demo_fixtures
import numpy as np
import page_fixtures
import pytest
from corpus_fixtures import pinned, serving, tar
from demo_fixtures import EASY, KINDS
from flow_fixtures import write_word_model
from test_cleaning_rules import cleaning

from flows.cli.commands import cli
from flows.demo import folder as demo_folder
from flows.demo import parts, tables
from flows.demo.fitness import refuse_unfit
from flows.demo.folder import write_demo
from flows.running import npm
from flows.running.corpora import Places
from stages.backends.batching import open_reader
from stages.backends.runners import open_runner
from stages.cleaning import rules
from stages.core.files import read_json
from stages.core.model_folder import describe
from stages.reading.corpora import NPM, place_of, store
from winnow import Model

browser = page_fixtures.browser
Open = Callable[[Path], Any]
NEAR = 1e-3
# A number that lies between two steps of int8 may be rounded the other way where sums are made in another order.
ROUNDED = 0.05
LOADED = (".js", ".json", ".onnx", ".wasm", ".html", ".css")


@pytest.fixture(scope="module")
def fetched() -> None:
    if missing := [str(part.pin) for part in parts.PARTS if not place_of(part.pin, store()).is_file()]:
        pytest.skip(f"not fetched: {', '.join(missing)}; `make demo-parts` gets them")


@pytest.fixture(scope="module")
def made(
    fetched: None, tmp_path_factory: pytest.TempPathFactory, tiny_models: Callable[[str], Path]
) -> Callable[[str], tuple[Path, Path]]:
    """made(kind): a model's folder and that of its page, made once."""
    root = tmp_path_factory.mktemp("demos")

    @functools.cache
    def get(kind: str) -> tuple[Path, Path]:
        model = demo_fixtures.model_of(KINDS[kind], tiny_models, root / kind)
        write_demo(model, root / kind / "page")
        return model, root / kind / "page"

    return get


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Opens a folder's page; at the end it must have asked for nothing but its host, and have said nothing."""
    closing: list[Callable[[], Any]] = []
    asked: list[str] = []
    said: list[str] = []

    def open_(folder: Path) -> Any:
        server, context = serving(folder), browser.new_context(viewport={"width": 900, "height": 900})
        url, page = server.__enter__(), context.new_page()
        closing.extend([context.close, functools.partial(server.__exit__, None, None, None)])
        page.on("request", lambda request: asked.append(request.url.removeprefix(url)))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(url)
        page.wait_for_selector("html[data-ready], #answer [role=alert]", state="attached", timeout=240_000)
        return page

    yield open_
    for close in closing:
        close()
    assert [one for one in asked if "://" in one] == []
    assert said == []


def in_page(page: Any, body: str, given: Any = None) -> Any:
    """What JavaScript returns in the page, where `model` is the page's and `given` what is given to it."""
    return page.evaluate(f"async given => {{ const {{model}} = await import('./page.js'); {body} }}", given)


@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_texts_are_answered_as_the_runner_answers_them(kind: str, made: Any, open_page: Open) -> None:
    model, folder = made(kind)
    texts = demo_fixtures.texts(100, seed=1)
    ask = Model(open_runner(model, threads=1), demo_folder.answers_of(model))
    expected = [ask([text])[0] for text in texts]
    asking = "const all = []; for (const text of given) all.push(await model.answer(text)); return all"
    found = in_page(open_page(folder), asking, texts)
    off = np.array([difference(one, other) for one, other in zip(found, expected, strict=True)])
    assert off.max() < ROUNDED
    assert (off > NEAR).sum() <= 5
    assert len({json.dumps(one) for one in expected}) > 20, "the texts do not tell models apart"


def difference(one: Any, other: Any) -> float:
    """The largest difference of two records' numbers; the records must have the same words in the same places."""
    if isinstance(other, float):
        return abs(one - other)
    if isinstance(other, dict):
        assert set(one) == set(other)
        return max((difference(one[key], other[key]) for key in other), default=0.0)
    if isinstance(other, list):
        return max((difference(*pair) for pair in zip(one, other, strict=True)), default=0.0)
    assert one == other
    return 0.0


@pytest.mark.parametrize("kind", ["labels", "capitals", "sets"])
def test_texts_become_the_same_tokens_whatever_their_characters(kind: str, made: Any, open_page: Open) -> None:
    model, folder = made(kind)
    reading = read_json(folder / "demo.json")["reading"]
    ends = {int(code, 16) for code in re.findall(r"\{(\w+)\}", reading["odd"] + reading["spaced"])}
    blocks = {*range(0x250), *range(0x370, 0x400), *range(0x2000, 0x2100), *range(0x2F800, 0x2FA20, 9)}
    codes = sorted({*ends, *(code - 1 for code in ends), *blocks} - {*tables.SURROGATES})
    texts = [
        *(f"aB{chr(code)}Cd {chr(code)} {chr(code)}b" for code in codes), *demo_fixtures.texts(100, seed=2),
        "ΟΔΟΣ Σ", "[CLS] [SEP]a", "", "a" * 101, "a \ud800b", *map(chr, tables.SURROGATES[::500]),
    ]  # fmt: skip
    reader = open_reader(model, describe(model))
    expected = [[window.ids for window in reader.read([text]).encodings] for text in texts]
    reading_units = "return given.map(units => model.read(String.fromCharCode(...units)))"
    found = in_page(open_page(folder), reading_units, list(map(units, texts)))
    assert [text for text, one, other in zip(texts, found, expected, strict=True) if one != other] == []


def units(text: str) -> list[int]:
    """Those of UTF-16; halves of a character cannot be sent to a browser as text."""
    found = text.encode("utf-16-le", "surrogatepass")
    return [int.from_bytes(found[at : at + 2], "little") for at in range(0, len(found), 2)]


def test_texts_are_cleaned_to_the_letter_as_the_runner_cleans_them(made: Any, open_page: Open) -> None:
    page = open_page(made("labels")[1])
    odd = [*demo_fixtures.texts(250, seed=4), "x\x81\u200d\x85 ΑΣ ΑΣΑ İI", "é" * 130, "w " * 70]
    for names in (*([name] for name in EASY), EASY[::-1], ["classic"]):
        of = cleaning([*names], max_chars=120)
        texts = [*odd, *of_html()] if names == ["html_markup"] else odd
        given = [json.loads(json.dumps(of._asdict())), demo_folder.tables_of(of.rules), texts]
        found = page.evaluate(CLEANED, given)
        expected = map(rules.cleaner(of), texts)
        wrong = [pair for pair in zip(texts, found, expected, strict=True) if pair[1] != pair[2]]
        assert wrong == [], names


CLEANED = """async ([cleaning, tables, texts]) => {
    const {cleaner} = await import('./cleaning.js');
    return texts.map(cleaner(cleaning, tables));
}"""


def of_html() -> list[str]:
    """Texts with every element and entity of HTML, and with numbers of entities that stand for no character."""
    known = demo_folder.tables_of(["html_markup"])
    elements = [*known["blocks"], *known["inlines"], "ıns", "K", "div İ=1"]
    numbers = [*range(0x100), 0xD800, 0xFDD0, 0xFFFE, 0x10FFFF, 0x110000, 9999999]
    return [
        *(f"a<{name} class=x>b</{name}>c<{name}>d" for name in elements),
        *(f"a &{name} b" for name in known["entities"]),
        *(f"&#{number}; &#x{number:x};" for number in numbers),
    ]


def test_a_text_is_typed_and_answered_and_the_page_says_how_long_it_took_and_what_it_loaded(
    made: Any, open_page: Open
) -> None:
    model, folder = made("labels")
    page = open_page(folder)
    assert page.evaluate("document.activeElement.id") == "text"
    page.keyboard.type("the ship")
    page.wait_for_selector("#answer .head")
    [expected] = Model(open_runner(model, threads=1), demo_folder.answers_of(model))(["the ship"])
    assert page.inner_text("#answer .head") == f"{expected['label']}  {100 * expected['probability']:.1f}%"
    assert page.locator("#answer dt:visible").count() == len(demo_fixtures.LABELS)
    assert re.fullmatch(r"Answered in \d+\.\d ms, on this device\.", page.inner_text("#took"))
    loaded = {path for path in folder.rglob("*") if path.suffix in LOADED and path.parent.name != "tasks"}
    size = sum(path.stat().st_size for path in (*loaded, folder / "tasks/text_classification.js"))
    assert page.inner_text("#loaded").startswith(f"Loaded {size / 1e6:.1f} MB in ")
    assert f"{len(demo_folder.CHECKS)} texts were answered as the runner" in page.inner_text("#loaded")


def test_a_page_whose_answers_are_other_than_the_runners_refuses_to_answer(
    made: Any, open_page: Open, tmp_path: Path
) -> None:
    model, _ = made("labels")
    write_demo(model, tmp_path / "page")
    about = tmp_path / "page/demo.json"
    about.write_text(re.sub(r'"after": \[\s*3\s*\]', '"after": [2]', about.read_text()))
    page = open_page(tmp_path / "page")
    assert "does not answer 'Return the eigenvalues" in page.inner_text("#answer [role=alert]")
    page.keyboard.type("the ship")
    page.keyboard.press("Control+Enter")
    assert page.locator("#answer .head").count() == 0


def test_the_folder_is_made_by_the_command_and_replaced_but_no_other_folder_is(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, _ = made("labels")
    page = tmp_path / "page"
    for _ in range(2):
        cli.main(["demo", str(model), "-o", str(page)], standalone_mode=False)
        assert re.match(r".*page: a page of 1\d\.\d MB\. To look at it: python -m http", capsys.readouterr().out)
    names = {path.relative_to(page).as_posix() for path in page.rglob("*") if path.is_file()}
    assert names > {"index.html", "demo.json", "model/model.onnx", "vendor/tokenizers.LICENSE.txt"}
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"other is there, and is no demo page\. Name another folder, or remove"):
        write_demo(model, tmp_path / "other")
    (page / ".git").mkdir()
    with pytest.raises(FileExistsError, match=r"page is there, .*It holds \.git\."):
        write_demo(model, page)
    assert (page / ".git").is_dir()


# Without a browser


def test_a_model_of_another_backend_is_refused_with_what_to_use_instead(tmp_path: Path) -> None:
    model = write_word_model(tmp_path)
    told = r"a model of the backend 'linear', which no demo page runs\. Allowed: onnxruntime_int8.*winnow app"
    with pytest.raises(ValueError, match=told):
        write_demo(model, tmp_path / "page")


FIT = {"task": "text_classification", "backend": "onnxruntime_int8", "cleaning": {"rules": ["white_space"]}}
BERTS = {
    "model": {"type": "WordPiece"},
    "normalizer": {"type": "BertNormalizer"},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
}


@pytest.mark.parametrize(
    ("about", "tokenizer", "said"),
    [
        ({"task": "question_answering"}, {}, "a model of the task 'question_answering'"),
        ({"pairs": True}, {}, "a model of pairs of texts"),
        ({"cleaning": {"rules": ["white_space", "markdown_markup"]}}, {}, "its texts are cleaned by markdown_markup"),
        ({}, {"model": {"type": "Unigram"}}, "its tokenizer has a model of the kind Unigram"),
        ({}, {"normalizer": {"type": "NFC"}}, "its tokenizer has the normalizer NFC"),
        ({}, {"pre_tokenizer": {"type": "ByteLevel"}}, "its tokenizer has the pre-tokenizer ByteLevel"),
    ],
)
def test_what_a_page_could_not_answer_alike_is_refused_in_a_line(about: Any, tokenizer: Any, said: str) -> None:
    refuse_unfit(Path("m"), FIT, BERTS)
    with pytest.raises(ValueError) as refused:
        refuse_unfit(Path("m"), FIT | about, BERTS | tokenizer)
    [line] = str(refused.value).splitlines()
    assert line.startswith(f"m: {said}, which no demo page runs. Allowed: ")
    assert line.endswith("Or serve it: winnow app m")


def test_without_its_parts_a_page_is_not_made_and_they_are_not_fetched_unasked(
    tmp_path: Path, tiny_models: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = demo_fixtures.model_of(KINDS["labels"], tiny_models, tmp_path / "models")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "installation"))
    with pytest.raises(FileNotFoundError, match=r"onnxruntime-web [\d.]+, of npm, .* Fetch it: winnow fetch --demo"):
        write_demo(model, tmp_path / "page")
    assert not (tmp_path / "page").exists()
    assert not (tmp_path / "installation").exists()


ARCHIVE = tar({"package/run.js": b"1"})
PIN = pinned(ARCHIVE, "@scope/some", "1.0")._replace(ending=NPM)


def test_a_part_is_fetched_from_the_registry_by_its_name_and_hash(tmp_path: Path) -> None:
    place = tmp_path / "registry/@scope/some/-/some-1.0.tgz"
    place.parent.mkdir(parents=True)
    place.write_bytes(ARCHIVE)
    with serving(tmp_path / "registry") as url:
        path = npm.fetch(PIN, tmp_path / "store", url, Places)
        assert path.read_bytes() == ARCHIVE
        other = PIN._replace(sha256="a" * 64)
        with pytest.raises(ConnectionError, match=r"@scope/some 1\.0, with the SHA-256 a+, cannot be fetched from htt"):
            npm.fetch(other, tmp_path / "store", url, Places)
    assert npm.fetch(PIN, tmp_path / "store", "http://127.0.0.1:9/", Places) == path, "it is there, so nobody is asked"
    assert [*path.parent.iterdir()] == [path]


def test_the_registry_is_the_one_that_npms_variable_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    assert npm.registry() == npm.REGISTRY
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "https://mirror.example/npm")
    assert npm.address(PIN, npm.registry()) == "https://mirror.example/npm/%40scope/some/-/some-1.0.tgz"
