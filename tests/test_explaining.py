"""`winnow explain`: the words that made an answer, by what becomes of it without each."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flow_fixtures import write_word_model

from flows.answering import explained_text
from flows.answering.explained_page import render
from flows.answering.explaining import GROUPS, SINGLY, explained
from flows.answering.variants import Place, moved_back, without, words_of
from flows.cli.commands import main
from stages.backends.runners import open_runner
from stages.core.contracts import Outputs, Runner, Text

BREAD = 1 / (1 + np.exp(-5))
WEIGHT = BREAD - 0.5  # of "bread" where it stands alone among words that the model does not know


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_word_model(tmp_path_factory.mktemp("model"))


def of_words(space: dict[str, Any], task: str, numbers: dict[str, Sequence[float]]) -> Runner:
    """A model whose outputs are the sums of what each word adds; the first word of `numbers` is the bias."""
    bias, *_ = numbers.values()

    def predict(texts: Sequence[Text]) -> Outputs:
        split = [(text if isinstance(text, str) else " ".join(text)).split() for text in texts]
        sums = [np.add.reduce([bias, *(numbers[word] for word in words if word in numbers)], axis=0) for words in split]
        return Outputs(np.array(sums, dtype=np.float32))

    return Runner(task, space, predict)


def test_a_word_weighs_what_the_probability_falls_without_it(model: Path) -> None:
    found = explained(open_runner(model, threads=1), "warm bread rises")
    (aspect,) = found.aspects
    assert (found.shown, aspect.name, aspect.unit) == ("kitchen\t0.9933", "kitchen", "probability")
    assert aspect.value == pytest.approx(BREAD)
    assert {word.text: word.weight for word in aspect.words} == {
        "warm": pytest.approx(0), "bread": pytest.approx(WEIGHT), "rises": pytest.approx(0),
    }  # fmt: skip
    assert [found.texts[0][word.start : word.end] for word in aspect.words] == ["warm", "bread", "rises"]


def test_a_word_that_speaks_against_the_answer_weighs_less_than_nothing(model: Path) -> None:
    (aspect,) = explained(open_runner(model, threads=1), "bread ship").aspects
    bread, ship = aspect.words
    assert bread.weight > 0 > ship.weight


def test_the_check_takes_out_the_five_heaviest_words_and_five_at_random(model: Path) -> None:
    runner = open_runner(model, threads=1)
    (aspect,) = explained(runner, " ".join(["bread", *"abcdefghi"])).aspects
    assert aspect.without_top == pytest.approx(0.5)
    share = (aspect.value - aspect.without_random) / WEIGHT  # of 20 draws of five of ten words those with "bread"
    assert share * 20 == pytest.approx(round(share * 20), abs=1e-4)
    assert 4 <= share * 20 <= 16
    assert explained(runner, " ".join(["bread", *"abcdefghi"])).aspects[0] == aspect


def test_a_text_that_the_check_would_leave_no_word_of_has_none_and_one_answer_is_said_once(model: Path) -> None:
    runner = open_runner(model, threads=1)
    five, six = (explained(runner, " ".join(["bread", *others])) for others in ("abcd", "abcde"))
    assert next(explained_text.plain(five)) == "kitchen\tprobability 0.9933"
    assert next(explained_text.plain(six)).startswith(
        "kitchen\tprobability 0.9933; without the words that weigh most 0.5"
    )
    assert "at random" not in render(five)
    assert "at random" in render(six)
    stream = io.StringIO()
    explained_text.coloured(five, stream, width=80)
    assert stream.getvalue().count("0.9933") == 1


def test_of_a_set_of_labels_each_that_is_given_is_explained() -> None:
    runner = of_words(
        {"labels": ["a", "b", "c"]},
        "multilabel_classification",
        {"": (0.1, 0.1, 0.1), "x": (0.8, 0, 0), "y": (0, 0.6, 0)},
    )
    found = explained(runner, "x y")
    assert [aspect.name for aspect in found.aspects] == ["a", "b"]
    assert next(explained_text.plain(found)) == found.shown
    assert [[word.weight for word in aspect.words] for aspect in found.aspects] == [
        [pytest.approx(0.8), pytest.approx(0)], [pytest.approx(0), pytest.approx(0.6)],
    ]  # fmt: skip


def test_of_a_number_it_is_explained_by_how_much_it_changes() -> None:
    runner = of_words({"mean": 0.0, "deviation": 1.0}, "regression", {"": (0.5,), "good": (2.0,), "bad": (-3.0,)})
    (aspect,) = explained(runner, "good and bad").aspects
    assert (aspect.name, aspect.unit, aspect.value) == ("number", "number", pytest.approx(-0.5))
    assert [word.weight for word in aspect.words] == [pytest.approx(2), pytest.approx(0), pytest.approx(-3)]


def test_words_of_both_texts_of_a_pair_are_left_out() -> None:
    runner = of_words(
        {"labels": ["a", "b"]}, "text_classification", {"": (0.2, 0.8), "x": (0.3, -0.3), "y": (0.4, -0.4)}
    )
    (aspect,) = explained(runner, ("x z", "y")).aspects
    assert [(word.of, word.text, round(word.weight, 4)) for word in aspect.words] == [
        (0, "x", 0.3), (0, "z", 0.0), (1, "y", 0.4),
    ]  # fmt: skip


def tagger(texts: Sequence[Text]) -> Outputs:
    """Each word is a token; "Ada" is a name of probability 0.9 behind "by", else of 0.6; other words are none."""
    values, offsets, places = [], [0], []
    for text in texts:
        at, before = 0, ""
        for word in str(text).split():
            start = str(text).index(word, at)
            at = start + len(word)
            name = (0.9 if before == "by" else 0.6) if word == "Ada" else 0.1
            values.append([1 - name, name, 0])
            places.append([start, at])
            before = word
        offsets.append(len(values))
    return Outputs(
        np.array(values, "f").reshape(-1, 3), np.array(offsets), np.array(places).reshape(-1, 2), list(map(str, texts))
    )


TAGGER = Runner(
    "token_classification", {"tags": ["O", "B-name", "I-name"]}, tagger, lambda text: " ".join(text.split())
)


def test_a_span_is_explained_by_its_own_tokens_and_is_gone_without_them() -> None:
    (aspect,) = explained(TAGGER, "made  by Ada there").aspects
    assert (aspect.name, aspect.value) == ("name: Ada", pytest.approx(0.9))
    assert {word.text: word.weight for word in aspect.words} == {
        "made": pytest.approx(0), "by": pytest.approx(0.3), "Ada": pytest.approx(0.9), "there": pytest.approx(0),
    }  # fmt: skip


def test_a_dot_in_the_place_of_all_words_is_no_part_of_the_span() -> None:
    def named(texts: Sequence[Text]) -> Outputs:  # takes each token for a name, a dot too
        found = tagger(texts)
        return found._replace(values=np.tile(np.array([[0.1, 0.9, 0]], "f"), (len(found.values), 1)))

    runner = Runner(TAGGER.task, TAGGER.space, named, TAGGER.clean)
    (aspect,) = explained(runner, "Ada").aspects
    assert (aspect.value, aspect.without_top) == (pytest.approx(0.9), 0)
    assert [word.weight for word in aspect.words] == [pytest.approx(0.9)]


def test_an_answer_without_a_span_is_explained_by_the_confidence_in_it() -> None:
    (aspect,) = explained(TAGGER, "made by Bo").aspects
    assert (aspect.name, aspect.unit, aspect.value) == ("answer", "confidence", pytest.approx(0.9))


def test_a_vector_and_a_text_without_words_are_refused_with_what_to_give(model: Path) -> None:
    with pytest.raises(ValueError, match="the text has no word"):
        explained(open_runner(model, threads=1), "?!")
    vectors = of_words({"targets": "numbers", "low": 0.0, "high": 1.0}, "sentence_similarity", {"": (1.0, 0.0)})
    with pytest.raises(ValueError, match=r"the answer is a vector.*Give a second text: --pair"):
        explained(vectors, "bread")


def test_of_a_long_text_groups_are_first_and_the_heaviest_are_opened(model: Path) -> None:
    asked = 0
    runner = open_runner(model, threads=1)

    def predict(texts: Sequence[Text]) -> Outputs:
        nonlocal asked
        asked += len(texts)
        return runner.predict(texts)

    words = [f"w{number}" for number in range(GROUPS * 10)]
    words[123] = "bread"
    (aspect,) = explained(Runner(runner.task, runner.space, predict, runner.clean), " ".join(words)).aspects
    assert [word.weight for word in aspect.words if word.text == "bread"] == [pytest.approx(WEIGHT)]
    assert sum(not word.grouped for word in aspect.words) == 40
    assert asked < GROUPS + 40 + 30 < len(words)
    (aspect,) = explained(runner, " ".join(words[:SINGLY])).aspects
    assert not any(word.grouped for word in aspect.words)


def test_words_are_left_out_with_the_blanks_behind_them() -> None:
    text = "a bc  d"
    places = [Place(0, 0, 1), Place(0, 2, 4), Place(0, 6, 7)]
    assert [without(text, [place]).text for place in places] == ["bc  d", "a d", "a bc  "]
    assert without(text, places[:2]).places.tolist() == [6]
    assert without(text, places).text.strip() == "."


def test_places_of_a_variant_are_moved_to_where_they_stand_in_the_whole_text() -> None:
    variant = without("a bc d", [Place(0, 2, 4)])
    outputs = Outputs(np.zeros((2, 1)), np.array([0, 2]), np.array([[0, 1], [2, 3]]), ["a d"])
    assert moved_back(outputs, [variant]).characters.tolist() == [[0, 1], [5, 6]]
    cleaned = Outputs(np.zeros((1, 1)), np.array([0, 1]), np.array([[0, 1]]), ["d"])  # cleaning took more out
    assert moved_back(cleaned, [variant]).characters.tolist() == [[5, 6]]


def test_words_keep_their_hyphens_and_scripts_without_blanks_are_characters() -> None:
    text = "don't re-run 天气 a_b!"
    assert [text[start:end] for _, start, end in words_of([text])] == ["don't", "re-run", "天", "气", "a_b"]
    text = "किताब अच्छी है, e\u0301t\u00b2"
    assert [text[start:end] for _, start, end in words_of([text])] == text.replace(",", "").split()


def test_a_terminal_gets_colours_and_no_control_characters(model: Path) -> None:
    found = explained(open_runner(model, threads=1), "bread \x1b[2J ship")
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    explained_text.coloured(found, stream, width=80)
    assert "bread" in stream.getvalue()
    assert "\x1b[2J" not in stream.getvalue()


def test_the_page_marks_words_and_shows_hostile_texts_as_text(model: Path) -> None:
    page = render(explained(open_runner(model, threads=1), "bread <script>alert(1)</script> ship"))
    assert '<mark class="for s4" title="+' in page
    assert '<mark class="against s' in page
    assert "<script>alert" not in page


def test_the_command_prints_words_json_and_a_page(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[Any, str]:
        with pytest.raises(SystemExit) as ended:
            main(["explain", "--model", str(model), "--threads", "1", *arguments])
        return ended.value.code, capsys.readouterr().out

    code, out = run("warm bread", "-o", "why.html")
    assert (code or 0, out.splitlines()[1]) == (0, f"{WEIGHT:+.4f}\tbread")
    assert "<mark" in Path("why.html").read_text()
    found = json.loads(run("warm bread", "--json")[1])
    assert found["aspects"][0]["words"][1] == {
        "of": 0, "start": 5, "end": 10, "text": "bread", "weight": round(WEIGHT, 6), "grouped": False,
    }  # fmt: skip
    assert run(" ")[0] == 2
    assert run("bread", "-o", "why.csv")[0] == 1
    assert run("bread", "-o", "no/why.html")[0] == 1
    assert sorted(path.name for path in Path().iterdir()) == ["why.html"]
