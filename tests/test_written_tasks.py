"""Tasks that write: targets, answers, likelihoods and refused parameters, with numbers counted by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY

from stages.core.contracts import Outputs, RawRow, Runner
from stages.core.params.evaluate import EvaluateParams
from stages.core.params.file import Params, load_params
from stages.measures import continuations, fairness, robustness
from stages.measures.continuations import beginning
from stages.measures.opened import Opened
from stages.models.pretrained import faults_of_model, locate
from stages.tasks.contract import Judged
from stages.tasks.shared.likelihood import agreement, divergence, mean_probability, of_rows
from stages.tasks.text2text_generation import answers as of_targets
from stages.tasks.text2text_generation import data as data_of_targets
from stages.tasks.text2text_generation import measures as measures_of_targets
from stages.tasks.text2text_generation.settings import SETTINGS as OF_TARGETS
from stages.tasks.text_generation import answers as of_texts
from stages.tasks.text_generation import data as data_of_texts
from stages.tasks.text_generation import measures as measures_of_texts
from stages.tasks.text_generation import scores as scores_of_texts
from stages.tasks.text_generation.settings import SETTINGS as OF_TEXTS


def outputs(*rows: Sequence[float], written: Sequence[str] | None = None) -> Outputs:
    """Of each row the probabilities of its tokens."""
    values = np.log(np.array([one for row in rows for one in row], dtype=np.float64)).astype(np.float32)[:, None]
    ends = np.cumsum([0, *(len(row) for row in rows)])
    return Outputs(values, ends, np.zeros((len(values), 2), dtype=np.int64), [""] * len(rows), written=written)


def params(**changes: dict[str, Any]) -> Params:
    values = load_params(REPOSITORY / "params.yaml").model_dump(by_alias=True)
    return Params.model_validate(values | {name: values[name] | own for name, own in changes.items()})


FITTING: dict[str, dict[str, Any]] = {
    "validate": {"min_labels": 1, "max_label_share": None},
    "promotion": {"max_ece": None, "max_identity_flip_rate": None},
}

READ = {"text_generation": "windows", "text2text_generation": "truncate"}  # texts that are too long


@pytest.mark.parametrize(("settings", "name"), [(OF_TEXTS, "text_generation"), (OF_TARGETS, "text2text_generation")])
@pytest.mark.parametrize(
    ("section", "change", "said"),
    [
        ("finetune", {"class_weights": "balanced"}, "finetune.class_weights is 'balanced'"),
        ("clean", {"rare_labels": "drop"}, "clean.rare_labels is 'drop'"),
        ("tokenize", {"capitals": "marked"}, "tokenize.capitals is 'marked'"),
        ("validate", {"min_labels": 2}, "validate.min_labels is 2"),
        ("promotion", {"max_ece": 0.1}, "promotion.max_ece is 0.1"),
        ("promotion", {"model": "static"}, "promotion.model is 'static'"),
        ("promotion", {"model": "probe"}, "promotion.model is 'probe'"),
        ("evaluate", {"slices": ["label"]}, "evaluate.slices has label"),
    ],
)
def test_parameters_that_do_not_go_with_written_texts_are_refused(
    settings: Any, name: str, section: str, change: dict[str, Any], said: str
) -> None:
    fitting = FITTING | {"tokenize": {"long_texts": READ[name]}}
    assert list(settings.faults(params(**fitting))) == []
    (fault,) = settings.faults(params(**fitting | {section: fitting.get(section, {}) | change}))
    assert fault.startswith(f"params.yaml: {said}")
    assert name in fault


def test_what_only_one_of_the_tasks_refuses() -> None:
    for read, refused in (("windows", [0, 1]), ("truncate", [1, 0])):  # bits are over the bytes of a whole text
        found = params(**FITTING, tokenize={"long_texts": read})
        assert [len(list(settings.faults(found))) for settings in (OF_TEXTS, OF_TARGETS)] == refused
    flips = params(**FITTING | {"promotion": {"max_ece": None}})
    assert [len(list(settings.faults(flips))) for settings in (OF_TEXTS, OF_TARGETS)] == [2, 0]


def test_more_tokens_than_a_model_from_scratch_has_positions_for_are_refused_before_it_is_made() -> None:
    scratch = {"kind": "llama", "layers": 1, "width": 16, "heads": 2, "feed_forward": 16, "positions": 64}
    own = {"family": "decoder", "name": "scratch", "revision": None, "sha256": None, "scratch": scratch}
    found = [params(model=own, tokenize={"max_tokens": most}) for most in (64, 65)]
    assert list(faults_of_model(locate(found[0].model), found[0])) == []
    (fault,) = faults_of_model(locate(found[1].model), found[1])
    assert fault.startswith("params.yaml: tokenize.max_tokens is 65. Allowed: at most 64, which is what a model with")


def read(data: Any, text: str | None, label: str | None) -> str | None:
    (row,) = data.DATA.read([RawRow(text, label, "a.csv:1")])
    assert isinstance(row, RawRow)
    assert row.text == text
    return row.label


@pytest.mark.parametrize(
    ("label", "kept"),
    [(" Ein  Hund.\r\nZwei \n", "Ein  Hund.\nZwei"), ("u\u0308ber", "über"), ("  \n", None), (None, None)],
)
def test_targets_keep_their_inner_blanks_and_lines(label: str | None, kept: str | None) -> None:
    assert read(data_of_targets, "a dog", label) == kept


def test_the_target_of_a_text_alone_is_its_size_whatever_stands_beside_it_and_cleaning_counts_it_again() -> None:
    assert read(data_of_texts, "zwei Wörter", "anything") == "12 2"
    assert read(data_of_texts, None, "anything") is None
    assert data_of_texts.DATA.carried("12 2", "zwei Wörter", "drei, vier, fünf") == "17 3"


def test_likelihoods_of_a_hand_counted_example() -> None:
    found = outputs([0.5, 0.25], [], [0.125])
    assert of_rows(found) == pytest.approx([math.log(1 / 8), 0.0, math.log(1 / 8)])
    assert mean_probability(found)[[0, 2]] == pytest.approx([math.sqrt(1 / 8), 1 / 8])
    assert math.isnan(mean_probability(found)[1])
    assert divergence(found, found) == 0.0
    assert divergence(outputs([0.5]), outputs([0.25])) == pytest.approx(math.log(2) ** 2 / 2)
    assert agreement(outputs([0.5, 0.5]), outputs([0.5, 0.45])) == 0.5  # 0.45 is 10.5% less likely, in nats


def test_measures_of_texts_of_a_hand_counted_example() -> None:
    """Two texts of 8 bytes in 2 words, 4 and 8 bits: 12 bits of 16 bytes, and e to the nats of a word."""
    found = outputs([0.25, 0.25], [0.5] * 8)
    truths = ["8 2", "8 2"]
    answers = of_texts.answers(found, {})
    assert answers == [f"{4 * math.log(2):.3f}", f"{8 * math.log(2):.3f}"]
    score = of_texts.score(truths, answers, {})
    assert score["bits_per_byte"] == pytest.approx(-12 / 16, abs=1e-3)
    assert score["word_perplexity"] == pytest.approx(-(2 ** (12 / 4)), rel=1e-3)
    assert measures_of_texts.scores(truths, answers) == pytest.approx([2**-0.5, 2**-1], abs=1e-3)
    judged = Judged(
        texts=["ein Wort", "ein Wort"], truths=truths, answers=answers, outputs=found, confidence_N=None,
        losses_N=of_texts.losses(truths, found, {}), scores_N=np.zeros(2), units=["1", "2"], space={}, seed=0,
    )  # fmt: skip
    report = measures_of_texts.report(judged)
    assert report["perplexity"] == pytest.approx(2 ** (12 / 10), rel=1e-5)  # ten tokens
    assert report["bytes_per_token"] == 1.6


def test_what_a_user_gets_of_a_text_and_of_what_was_written_on() -> None:
    record = of_texts.record(outputs([0.5, 0.25]), 0, "abc", {})
    assert record == {"written": None, "bits_per_byte": 1.0, "nats": 2.079}
    assert of_texts.shown(record) == "1.0000"
    written = of_texts.record(outputs([0.5], written=["a\nb"]), 0, "", {})
    assert (written["written"], of_texts.shown(written)) == ("a\nb", "a\\nb")
    assert of_texts.shown(of_texts.ANSWERS.nothing) == "null"
    assert written.keys() == record.keys() == of_texts.ANSWERS.nothing.keys()


def test_what_a_user_gets_of_a_source() -> None:
    found = outputs([0.5, 0.125], [], written=["ein Hund\n", ""])
    assert of_targets.answers(found, {}) == ["ein Hund", ""]
    record = of_targets.record(found, 0, "a dog", {})
    assert record == {"written": "ein Hund\n", "probability": 0.25}
    assert of_targets.shown(record) == "ein Hund\\n\t0.2500"
    assert of_targets.shown(of_targets.record(found, 1, "x", {})) == ""
    assert of_targets.shown(of_targets.ANSWERS.nothing) == "null"


def test_int8_is_judged_by_the_bits_of_targets_with_the_sign_turned() -> None:
    assert of_targets.bits_per_byte(["ab", "ü"], outputs([0.5, 0.5], [0.25])) == pytest.approx(-4 / 4)


class Echo:
    """A model that writes its source in capitals, and finds each character of a text as likely as a coin's side."""

    def predict(self, texts: Sequence[Any]) -> Outputs:
        if texts and not isinstance(texts[0], str):
            return outputs(*[[0.5] * len(target) for _, target in texts])
        return outputs(*[[0.5] * len(text) for text in texts], written=[text.upper() for text in texts])


def judged_by(of_answers: Any, of_measures: Any, texts: list[str], truths: list[str]) -> tuple[Judged, Opened]:
    model = Opened(Runner("text2text_generation", {}, Echo().predict), of_answers, of_measures)
    return model.judge(texts, truths, units=[str(at) for at in range(len(texts))], seed=1, columns={}), model


def settings(**changes: Any) -> EvaluateParams:
    return EvaluateParams.model_validate(load_params(REPOSITORY / "params.yaml").evaluate.model_dump() | changes)


def test_the_report_of_written_texts_is_counted_by_hand() -> None:
    judged, _ = judged_by(of_targets.ANSWERS, measures_of_targets.MEASURES, ["ein Hund", "ABC"], ["EIN HUND", "abcd"])
    found = measures_of_targets.report(judged)
    assert judged.losses_N == pytest.approx([8 * math.log(2), 4 * math.log(2)])
    assert {name: found[name] for name in ("bits_per_byte", "perplexity", "length_ratio", "copied", "copies")} == {
        "bits_per_byte": 1.0, "perplexity": 2.0, "length_ratio": round(11 / 12, 6), "copied": 1.0, "copies": 0.5,
    }  # fmt: skip
    assert found["empty"] == found["repetition"] == 0.0


def test_words_swapped_in_source_and_answer_alike_flip_nothing() -> None:
    texts = ["he came", "she left", "nobody"]
    judged, model = judged_by(of_targets.ANSWERS, measures_of_targets.MEASURES, texts, ["x", "y", "z"])
    found = fairness.measure(judged, model, settings(identity_swaps=[["he", "she"]]))["fairness"]["identity_swaps"]
    assert found | {"high": 1} == {
        "rows": 2, "flip_rate": 0.0, "similarity": 1.0, "low": 0.0, "high": 1, "mean_change": None,
    }  # fmt: skip


def test_nothing_is_asked_for_a_source_that_a_change_leaves_empty() -> None:
    judged, model = judged_by(of_targets.ANSWERS, measures_of_targets.MEASURES, ["...", "a, b"], ["x", "y"])
    found = robustness.measure(judged, model, settings())["robustness"]
    assert found["no_punctuation"]["rows"] == 1
    assert found["upper_case"] == {"rows": 1, "flip_rate": 0.0, "similarity": 1.0, "score": 0.0}


def test_a_changed_text_alone_has_the_size_that_it_has() -> None:
    judged, model = judged_by(of_texts.ANSWERS, measures_of_texts.MEASURES, ["abcd, efgh"], ["10 2"])
    found = robustness.measure(judged, model, settings())["robustness"]["no_punctuation"]
    assert found == {"rows": 1, "flip_rate": None, "score": pytest.approx(0.5, abs=1e-4)}  # nine bytes of one bit
    assert continuations.measure(judged, model, settings()) == {}


@pytest.mark.parametrize(
    ("text", "begun"),
    [("one two three", ""), ("one two three four", "one two"), ("w " * 200, " ".join(["w"] * 30)), ("", "")],
)
def test_the_beginning_of_a_text_is_half_of_its_words_and_thirty_at_most(text: str, begun: str) -> None:
    assert beginning(text, 1000) == begun


def test_the_perplexity_of_words_is_left_out_where_texts_have_no_blanks_between_them() -> None:
    texts = ["矩阵的特征值" * 40, "返回数组" * 50]
    truths, answers = [scores_of_texts.size(text) for text in texts], ["920.0", "650.0"]
    assert [one.name for one in measures_of_texts.MEASURES.of(truths)] == ["bits_per_byte"]
    of_words = measures_of_texts.MEASURES.of([scores_of_texts.size("Return the eigenvalues of a matrix.")])
    assert [one.name for one in of_words] == list(scores_of_texts.NAMES)
    assert all(math.isfinite(number) for number in scores_of_texts.score(truths, answers).values())
