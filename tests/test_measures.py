"""Measures against hand-counted examples, scikit-learn, and published definitions."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from conftest import REPOSITORY
from scipy.stats import binomtest
from sklearn.metrics import brier_score_loss, classification_report, recall_score

from stages.core import identity, identity_words, plugins
from stages.core.contracts import Outputs, Runner
from stages.core.params.evaluate import EvaluateParams, ProfileParams
from stages.core.params.file import load_params
from stages.core.params.identity import ListName
from stages.measures import (
    ANSWERS,
    calibration,
    fairness,
    quality,
    robustness,
    size,
    slices,
    speed,
    throughput,
)
from stages.measures.opened import Opened
from stages.tasks.contract import Judged
from stages.tasks.text_classification.answers import ANSWERS as OF_ANSWERS
from stages.tasks.text_classification.measures import MEASURES, brier


def settings(**changes: Any) -> EvaluateParams:
    return EvaluateParams.model_validate(load_params(REPOSITORY / "params.yaml").evaluate.model_dump() | changes)


def answers(
    truth: Sequence[int] | np.ndarray,
    probabilities: Sequence[Sequence[float]] | np.ndarray,
    *,
    texts: Sequence[str] | None = None,
    names: tuple[str, ...] = ("a", "b", "c"),
    predict: Callable[[Sequence[Any]], np.ndarray] | None = None,
    units: Sequence[str] | None = None,
    **columns: Sequence[str | None],
) -> tuple[Judged, Opened]:
    """A model that gives these probabilities, and its answers judged; asked again it answers by `predict`."""
    given, texts = np.asarray(probabilities, dtype=np.float32), texts or ["text"] * len(truth)
    again = predict or (lambda asked: np.tile(given[:1], (len(asked), 1)))
    truths, space = [names[i] for i in truth], {"labels": list(names)}
    model = Opened(Runner("text_classification", space, lambda _: Outputs(given)), OF_ANSWERS, MEASURES)
    judged = model.judge(
        texts, truths, units=units or [str(i) for i in range(len(truth))], seed=20, columns={**columns, "label": truths}
    )
    asked_again = Runner("text_classification", space, lambda asked: Outputs(np.asarray(again(asked), np.float32)))
    return judged, model._replace(runner=asked_again)


def one_hot(predicted: Sequence[int], classes: int = 3) -> np.ndarray:
    return np.eye(classes)[list(predicted)]


def drawn(rows: int = 400, classes: int = 5, seed: int = 1) -> tuple[Judged, Opened]:
    draw = np.random.default_rng(seed)
    probabilities = draw.dirichlet(np.ones(classes) / 2, size=rows)
    truth = [int(draw.choice(classes, p=p / p.sum())) for p in probabilities**0.5]
    return answers(truth, probabilities, names=tuple("abcde"))


def test_quality_of_a_hand_counted_example() -> None:
    measured = quality.measure(*answers([0, 0, 0, 1, 1, 2], one_hot([0, 0, 1, 1, 2, 2]) * 0.7 + 0.1), settings())
    assert measured["accuracy"] == round(4 / 6, 6)
    # F1: a 2*2/(3+2) = 0.8, b 2*1/(2+2) = 0.5, c 2*1/(1+2) = 2/3
    assert measured["macro_f1"] == round((0.8 + 0.5 + 2 / 3) / 3, 6)
    assert measured["macro_precision"] == round((1 + 0.5 + 0.5) / 3, 6)
    assert measured["macro_recall"] == round((2 / 3 + 0.5 + 1) / 3, 6)
    assert measured["log_loss"] == round(float(-(4 * np.log(0.8) + 2 * np.log(0.1)) / 6), 4)
    assert measured["rows"] == 6
    assert measured["per_label"]["a"] == {"precision": 1.0, "recall": round(2 / 3, 6), "f1": 0.8, "rows": 3}


def test_quality_is_that_of_scikit_learn() -> None:
    given, model = drawn()
    measured, names = quality.measure(given, model, settings()), given.space["labels"]
    report = classification_report(given.truths, given.answers, labels=names, output_dict=True)
    for key, theirs in (("macro_precision", "precision"), ("macro_recall", "recall"), ("macro_f1", "f1-score")):
        assert measured[key] == round(report["macro avg"][theirs], 6)
    for name in names:
        assert measured["per_label"][name]["f1"] == round(report[name]["f1-score"], 6)


def test_intervals_hold_the_value_and_narrow_with_rows() -> None:
    widths = []
    for rows in (100, 1600):
        measured = quality.measure(*drawn(rows), settings())
        for name, ends in measured["intervals"].items():
            assert ends["low"] < measured[name] < ends["high"]
        widths.append(measured["intervals"]["accuracy"]["high"] - measured["intervals"]["accuracy"]["low"])
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.25)  # by the root of the rows


def test_a_label_never_predicted_counts_as_zero() -> None:
    measured = quality.measure(*answers([0, 1], [[0.9, 0.1], [0.9, 0.1]], names=("a", "b")), settings())
    assert measured["per_label"]["b"]["f1"] == 0
    assert measured["macro_f1"] == round((2 / 3) / 2, 6)


def test_a_label_that_no_test_row_has_breaks_no_measure() -> None:
    """b has no row and is given to one, so it counts in the mean; what is neither true nor given does not."""
    given = answers([0, 0, 0, 2], one_hot([0, 0, 1, 2], 4), names=("a", "b", "c", "d"), region=["x", "x", "y", "y"])
    measured: dict[str, Any] = {}
    for name in ANSWERS:
        measured |= plugins.load(ANSWERS, name, key="measure")(
            *given, settings(slices=["label"], group_column="region")
        )
    assert measured["macro_f1"] == round((0.8 + 0 + 1) / 3, 6)
    assert measured["per_label"]["b"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "rows": 0}
    assert sorted(measured["slices"]["label"]) == ["a", "c"]
    never = answers([0, 0, 2], one_hot([0, 0, 2]))
    assert quality.measure(*never, settings())["macro_f1"] == 1.0


def test_calibration_of_a_hand_counted_example() -> None:
    given = answers([0, 0, 1, 1], [[0.95, 0.05], [0.95, 0.05], [0.95, 0.05], [0.35, 0.65]], names=("a", "b"))
    # the bin (0.9, 1]: 3 rows, confidence 0.95, 2 right; the bin (0.6, 0.7]: 1 row, 0.65, right
    measured = calibration.measure(*given, settings(calibration_bins=10))
    assert measured["ece"] == pytest.approx((3 * abs(0.95 - 2 / 3) + abs(0.65 - 1)) / 4, abs=1e-6)
    assert given[0].confidence_N is not None
    bins = calibration.reliability(given[0].confidence_N, given[0].scores_N, bins=10)
    assert [(b["low"], b["high"], b["rows"]) for b in bins] == [(0.6, 0.7, 1), (0.9, 1.0, 3)]


def test_the_brier_score_is_that_of_scikit_learn() -> None:
    given, _ = drawn()
    probabilities = given.outputs.values.astype(np.float64)
    probabilities /= probabilities.sum(1, keepdims=True)
    theirs = brier_score_loss(given.truths, probabilities, labels=given.space["labels"], scale_by_half=False)
    assert brier(given).mean() == pytest.approx(theirs, abs=1e-6)


def test_temperature_scaling_finds_the_temperature_that_spoiled_the_probabilities() -> None:
    draw = np.random.default_rng(3)
    logits = draw.normal(size=(20_000, 4)) * 2
    honest = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = (draw.random((20_000, 1)) < honest.cumsum(1)).argmax(1)
    spoiled = honest**2.5 / (honest**2.5).sum(1, keepdims=True)
    names, space = [*"abcd"], {"labels": [*"abcd"]}
    truths = [names[i] for i in truth]
    assert calibration.fit_temperature(OF_ANSWERS, truths, Outputs(spoiled), space) == pytest.approx(2.5, abs=0.1)
    error = [calibration.measure(*answers(truth, p, names=tuple("abcd")), settings())["ece"] for p in (spoiled, honest)]
    assert error[0] > 0.1 > 0.02 > error[1]


@pytest.mark.parametrize(("rows", "least"), [(5, 0.4), (20, 0.2), (40, 0.15)])
def test_a_few_rows_that_are_all_answered_right_make_no_answer_a_certainty(rows: int, least: float) -> None:
    logits = np.random.default_rng(5).normal(size=(rows, 4))
    truths = [[*"abcd"][at] for at in logits.argmax(1)]
    found = Outputs(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    assert least < calibration.fit_temperature(OF_ANSWERS, truths, found, {"labels": [*"abcd"]}) < 1


def test_a_column_of_ones_own_named_length_is_that_column() -> None:
    given = answers([0] * 4, one_hot([0] * 4), length=["a", "a", "b", "b"])
    measured = slices.measure(*given, settings(slices=["length"]))
    assert measured["slices"]["length"].keys() == {"a", "b"}


def test_slices_name_the_worst_one_that_has_rows_enough() -> None:
    regions = ["north"] * 40 + ["south"] * 40 + ["west"] * 2
    predicted = [0] * 40 + [0] * 20 + [1] * 20 + [1] * 2
    given = answers([0] * 82, one_hot(predicted), region=regions)
    measured = slices.measure(*given, settings(slices=["region"]))
    assert measured["worst_slice"] == {"name": "region: south", "rows": 40, "score": 0.5}
    assert measured["slices"]["region"]["west"]["score"] == 0
    ends = binomtest(20, 40).proportion_ci(0.95, method="wilson")
    assert measured["slices"]["region"]["south"]["low"] == round(ends.low, 6)


def test_slices_by_length_are_of_equal_size() -> None:
    texts = ["x" * n for n in range(1, 91)]
    measured = slices.measure(*answers([0] * 90, one_hot([0] * 90), texts=texts), settings(slices=["length"]))
    assert {name: part["rows"] for name, part in measured["slices"]["length"].items()} == dict.fromkeys(
        ("short", "middle", "long"), 30
    )


def test_a_slice_of_an_unknown_column_says_which_are_there() -> None:
    with pytest.raises(ValueError, match=r"'regoin'\. Allowed: length, region, label; more by ingest\.keep_columns"):
        slices.measure(*answers([0], one_hot([0]), region=["north"]), settings(slices=["regoin"]))


def test_identity_words_are_swapped_whole_and_keep_their_case() -> None:
    swap = identity.swapper([["he", "she"], ["king", "queen"]])
    assert swap("He met the KING; the theme is kingdom.") == "She met the QUEEN; the theme is kingdom."
    assert swap(swap("She is he, King")) == "She is he, King"


def test_flips_of_swapped_identity_words_are_counted_among_the_rows_that_hold_one() -> None:
    def predict(texts: Sequence[str]) -> np.ndarray:
        return np.array([[0.2, 0.8] if "she" in text else [0.9, 0.1] for text in texts])

    texts = ["he sings", "she sings", "they sing", "a man sings"]
    given = answers([0, 0, 0, 0], predict(texts), texts=texts, names=("a", "b"), predict=predict)
    found = fairness.measure(*given, settings())["fairness"]["identity_swaps"]
    assert found["rows"] == 3
    assert found["flip_rate"] == round(2 / 3, 6)  # he -> she, she -> he; man -> woman changes nothing
    assert found["mean_change"] == pytest.approx((0.7 + 0.7 + 0) / 3, abs=1e-3)


def test_a_published_list_is_taken_by_its_name_and_pairs_as_they_are() -> None:
    given = answers([0, 0, 0], one_hot([0, 0, 0]), texts=["Her nephew rang.", "a spokeswoman", "he"])
    by_name, by_pairs = (
        fairness.measure(*given, settings(identity_swaps=swaps))["fairness"]["identity_swaps"]["rows"]
        for swaps in ("gender_en", [["he", "she"]])
    )
    assert (by_name, by_pairs) == (3, 1)
    swap = identity.swapper(identity_words.GENDER_EN)
    assert (
        swap("Her nephew met a spokesman, Ladies and gentlemen.")
        == "His niece met a spokeswoman, Gentlemen and ladies."
    )


def test_params_and_the_lists_name_the_same_and_as_many_swaps_as_a_set_has_words_change_nothing() -> None:
    assert set(identity_words.LISTS) == set(get_args(ListName))
    for name, (sets, sides) in identity_words.LISTS.items():
        words = [word for own in sets for word in own]
        assert len(words) == len(set(words))
        assert {len(own) for own in sets} == {len(sides)}, name
        swap, swapped = identity.swapper(sets), words
        for turn in range(len(sides)):
            assert (swapped == words) == (turn == 0)
            swapped = [swap(word) for word in swapped]
        assert swapped == words


def test_no_row_with_an_identity_word_is_no_rate() -> None:
    found = fairness.measure(*answers([0], one_hot([0]), texts=["tables"]), settings())["fairness"]
    assert found == {"identity_swaps": {"rows": 0, "flip_rate": None, "mean_change": None}}


def test_gaps_between_groups_of_a_hand_counted_example() -> None:
    truth, predicted, group = [0, 0, 1, 1, 0, 0, 1, 1], [0, 0, 1, 0, 0, 1, 1, 1], ["x"] * 4 + ["y"] * 4
    given = answers(truth, one_hot(predicted, 2), names=("a", "b"), who=group)
    found = fairness.measure(*given, settings(group_column="who"))["fairness"]["groups"]
    ends = binomtest(3, 4).proportion_ci(0.95, method="wilson")
    one = {"rows": 4, "score": 0.75, "low": round(ends.low, 6), "high": round(ends.high, 6)}
    assert found["rates"] == {"x": one, "y": one}
    assert found["score_gap"] == 0
    assert found["selection_gap"] == 0.5  # label a: 3 of 4 against 1 of 4
    recalls = [[recall_score(truth[s], predicted[s], pos_label=p) for s in (slice(0, 4), slice(4, 8))] for p in (0, 1)]
    assert found["recall_gap"] == max(abs(x - y) for x, y in recalls)


@pytest.mark.parametrize(
    ("name", "text", "after"),
    [
        ("upper_case", "Ship it", "SHIP IT"),
        ("lower_case", "Ship it", "ship it"),
        ("no_punctuation", "Well, ship it: (now)!", "Well ship it now"),
        ("zero_width", "ship it", "sh\u200bip it"),
    ],
)
def test_perturbations(name: str, text: str, after: str) -> None:
    assert robustness.PERTURBATIONS[name](text, random.Random(0)) == after


def test_typos_swap_neighbours_and_are_the_same_every_time() -> None:
    text = "the captain of the ship saw a storm over the island " * 2
    once, twice = (robustness.typos(text, random.Random(5)) for _ in range(2))
    assert once == twice != text
    assert sorted(once) == sorted(text)
    assert 2 <= sum(a != b for a, b in zip(once, text, strict=True)) <= 4  # 104 characters: two swaps


def test_flip_rates_are_of_the_rows_that_changed() -> None:
    def predict(texts: Sequence[str]) -> np.ndarray:
        return np.array([[0.1, 0.9] if text.isupper() else [0.9, 0.1] for text in texts])

    texts = ["ship", "SHIP", "12"]
    given = answers([0, 1, 0], predict(texts), texts=texts, names=("a", "b"), predict=predict)
    found = robustness.measure(*given, settings())["robustness"]
    assert found["upper_case"] == {"rows": 1, "flip_rate": 1.0, "score": 0.0}
    assert found["lower_case"] == {"rows": 1, "flip_rate": 1.0, "score": 0.0}
    assert found["no_punctuation"] == {"rows": 0, "flip_rate": None, "score": None}


def test_measuring_a_hundred_thousand_rows_is_quick() -> None:
    """A tenth of the time that the int8 model takes for them here is 15 s; a fifth of that must do."""
    draw = np.random.default_rng(0)
    given = answers(
        draw.integers(3, size=100_000), draw.dirichlet(np.ones(3), size=100_000), texts=["he saw it"] * 100_000
    )
    started = time.process_time()
    for measure in (quality, calibration, slices):
        measure.measure(*given, settings())
    assert time.process_time() - started < 15


def test_speed_tells_single_rows_from_batches_and_threads() -> None:
    calls: list[tuple[int, int]] = []

    def open_runner(threads: int) -> Runner:
        def predict(texts: Sequence[Any]) -> Outputs:
            calls.append((threads, len(texts)))
            time.sleep(0.02 if len(texts) == 1 else 0.01)
            return Outputs(np.zeros((len(texts), 2)))

        return Runner("text_classification", {"labels": ["a", "b"]}, predict)

    params = ProfileParams(
        rounds=1, threads=1, single_rows=10, throughput_rows=20, batch_size=8, batch_sizes=[10], thread_counts=[1, 2]
    )
    measured = speed.measure(open_runner, ["text"] * 30, params)
    table = throughput.measure(open_runner, ["text"] * 30, params)
    assert calls[-6:] == [(1, 10)] * 3 + [(2, 10)] * 3  # one that is not counted, and two
    assert 20 <= measured["latency_p50_ms"] <= measured["latency_p90_ms"] <= measured["latency_p99_ms"]
    assert measured["start_up_ms"] >= 20
    assert measured["throughput_rows_per_s"] <= 20 / 0.03
    assert table["threads_2"]["batch_10"] <= 20 / 0.02


def test_energy_is_the_sum_of_the_packages_and_unknown_without_counters(tmp_path: Path) -> None:
    assert speed.joules(tmp_path) is None
    for place, name, used in (
        ("intel-rapl:0", "package-0", 2_500_000), ("intel-rapl:1", "package-1", 1_000_000),
        ("intel-rapl:0:0", "core", 9_000_000), ("intel-rapl:2", "psys", 9_000_000),
    ):  # fmt: skip
        (tmp_path / place).mkdir()
        (tmp_path / place / "name").write_text(f"{name}\n")
        (tmp_path / place / "energy_uj").write_text(f"{used}\n")
    assert speed.joules(tmp_path) == 3.5  # of a package its core's is a part, and the whole machine has both


def test_the_energy_of_a_row_is_that_of_all_rows_that_took_it(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = [0.0]

    def predict(texts: Sequence[Any]) -> Outputs:
        spent[0] += len(texts)  # a joule a row
        return Outputs(np.zeros((len(texts), 2)))

    monkeypatch.setattr(speed, "joules", lambda: spent[0])
    params = ProfileParams(
        rounds=1, threads=1, single_rows=5, throughput_rows=20, batch_size=8, batch_sizes=[8], thread_counts=[1]
    )
    runner = Runner("text_classification", {"labels": ["a", "b"]}, predict)
    assert speed.measure(lambda _: runner, ["text"] * 30, params)["energy_j_per_1000_rows"] == 1000.0


def test_size_is_that_of_the_whole_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/weights").write_bytes(bytes(2_000_000))
    (tmp_path / "labels").write_bytes(bytes(500_000))
    measured = size.measure(tmp_path)
    assert measured["size_mb"] == 2.5
    assert measured["peak_rss_mb"] > 10
